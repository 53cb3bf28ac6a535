"""What Lessonkeeper says to Supabase, and the pure rules it computes with."""
