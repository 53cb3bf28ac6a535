"""HTTP only: method, path, body model, which lib call, status code."""
