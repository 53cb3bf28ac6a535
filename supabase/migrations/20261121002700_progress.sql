-- 27. Progress
--
-- How a student is getting on, in figures that a family is shown: how assessments go and in which direction, how many
-- lessons and how much homework came about, how long a row of lessons without a miss is, and how long what is paid for
-- will last. `get_progress` answers the student, admins, and tutors; a tutor is shown their own part of it.
--
-- A trend is a straight line by least squares, and never told without its uncertainty: where the marks are too few or
-- too close together, or scatter too much, the answer says that nothing can be said. Days are those of UTC.
--
-- A guardian does not sign in: `create_progress_link` makes them an address that holds a secret, shown once, of which
-- only the hash is kept. It opens the progress of their own student and nothing else, for 90 days of the real clock,
-- unless `revoke_progress_link` ends it before. `read_progress_link` is for the service key alone and decides by the
-- token.

insert into private.shown_once (function_name, member) values ('create_progress_link', 'token');

create table private.progress_links (
  id uuid primary key default gen_random_uuid(),
  guardian_id uuid not null references public.guardians (id) on delete cascade,
  token_hash bytea not null unique,
  created_by_user_id uuid not null references public.profiles (id),
  created_at timestamptz not null default private.now(),
  expires_at timestamptz not null default now() + interval '90 days',
  revoked_at timestamptz
);
comment on table private.progress_links is 'The addresses under which guardians read how their student is getting on.';
comment on column private.progress_links.token_hash is 'SHA-256 of the token. It is random enough that a hash without salt gives nothing away.';
comment on column private.progress_links.expires_at is 'By the real clock, however the house''s is set.';
comment on column private.progress_links.revoked_at is 'Since when it opens nothing, because an admin said so.';
create index progress_links_guardian on private.progress_links (guardian_id, created_at);
create index progress_links_created_by on private.progress_links (created_by_user_id);
alter table private.progress_links enable row level security;

-- The direction of marks -----------------------------------------------------------------------------

create function private.t_quantile(p_freedom integer) returns double precision
language sql immutable
set search_path = '' set timezone = 'UTC'
return case when p_freedom <= 30
  then (array[12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
              2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042])[p_freedom]
  else 1.96 + 2.4 / p_freedom end;
comment on function private.t_quantile(integer) is
  'What Student''s t stays below in 97.5 of 100 cases, by its degrees of freedom: so far an estimate may lie off, to either side.';

create function private.trend(p_times timestamptz[], p_percents double precision[]) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_month constant double precision := 30 * 86400;
  v_fit record;
  v_scatter double precision;
  v_error double precision;
  v_reach double precision;
begin
  select regr_count(y, x) as n, regr_slope(y, x) as slope, regr_avgx(y, x) as mean_x, regr_avgy(y, x) as mean_y,
         regr_sxx(y, x) as sxx, regr_syy(y, x) as syy, min(x) as first_x, max(x) as last_x
    into v_fit
    from unnest(p_times, p_percents) as mark (at, y)
   cross join lateral (select extract(epoch from at - p_times[1])::double precision / v_month as x) as since;
  if v_fit.n < 4 or (v_fit.last_x - v_fit.first_x) * 30 < 14 then
    return jsonb_build_object('n', v_fit.n, 'enough', false, 'verdict', 'too_few', 'slope', null, 'standard_error', null,
                              'low', null, 'high', null, 'line', '[]'::jsonb);
  end if;
  -- What the line leaves unexplained; rounding may bring it a hair below nothing.
  v_scatter := sqrt(greatest(v_fit.syy - v_fit.slope ^ 2 * v_fit.sxx, 0) / (v_fit.n - 2));
  v_error := v_scatter / sqrt(v_fit.sxx);
  v_reach := private.t_quantile(v_fit.n::integer - 2);
  return jsonb_build_object(
    'n', v_fit.n, 'enough', true,
    'verdict', case
      when abs(v_fit.slope) + v_reach * v_error < 2 then 'steady'
      when v_fit.slope > v_reach * v_error then 'rising'
      when v_fit.slope < -v_reach * v_error then 'falling'
      else 'unclear' end,
    'slope', round(v_fit.slope::numeric, 2),
    'standard_error', round(v_error::numeric, 2),
    'low', round((v_fit.slope - v_reach * v_error)::numeric, 2),
    'high', round((v_fit.slope + v_reach * v_error)::numeric, 2),
    'line', (
      select jsonb_agg(jsonb_build_object(
               'at', p_times[1] + make_interval(secs => x * v_month),
               'percent', round(y::numeric, 2),
               'low', round((y - reach)::numeric, 2),
               'high', round((y + reach)::numeric, 2)) order by x)
        from generate_series(0, 12) as step
       cross join lateral (select v_fit.first_x + (v_fit.last_x - v_fit.first_x) * step / 12 as x) as place
       cross join lateral (
         select v_fit.mean_y + v_fit.slope * (x - v_fit.mean_x) as y,
                v_reach * v_scatter * sqrt(1.0 / v_fit.n + (x - v_fit.mean_x) ^ 2 / v_fit.sxx) as reach) as fitted));
end;
$$;
comment on function private.trend(timestamptz[], double precision[]) is
  'The straight line through marks by least squares: points of a hundred in 30 days, its standard error, the range that holds the truth in 95 of 100 cases (low, high), and the line itself with such a range around it. Nothing is said of fewer than four marks, or of less than 14 days; steady is less than two points in 30 days, whichever end of the range one takes.';

-- The parts ------------------------------------------------------------------------------------------
-- Each for one student; p_tutor_id leaves in only what that tutor has a part in, and null everything.

create function private.assessment_progress(p_student_id uuid, p_tutor_id uuid, p_from timestamptz, p_until timestamptz) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  with marks as (
    select e.id, e.occurred_at as at, lower(said.subject) as key, said.subject, said.topic, said.score, said.max_score,
           100 * said.score / said.max_score as percent
      from public.learning_events e
     cross join lateral (
       select btrim(e.event_data ->> 'subject') as subject, e.event_data ->> 'topic' as topic,
              case when jsonb_typeof(e.event_data -> 'score') = 'number' then (e.event_data ->> 'score')::numeric end as score,
              case when jsonb_typeof(e.event_data -> 'max_score') = 'number' then (e.event_data ->> 'max_score')::numeric end
                as max_score) as said
     where e.student_user_id = p_student_id and e.event_type = 'assessment'
       and (p_tutor_id is null or e.tutor_user_id = p_tutor_id)
       and e.occurred_at >= p_from and e.occurred_at < p_until
       and said.max_score > 0 and said.score >= 0)
  select coalesce(jsonb_agg(one.document order by one.n desc, one.key), '[]')
    from (select key, count(*) as n,
                 jsonb_build_object(
                   -- However it was spelled before: as it was spelled last.
                   'subject', (array_agg(subject order by at desc, id desc))[1],
                   'latest', round((array_agg(percent order by at desc, id desc))[1], 1),
                   'average', round(avg(percent), 1),
                   'trend', private.trend(array_agg(at order by at, id), array_agg(percent::double precision order by at, id)),
                   'marks', jsonb_agg(jsonb_build_object(
                     'taken_at', at, 'topic', topic, 'score', score, 'max_score', max_score, 'percent', round(percent, 1))
                     order by at, id)) as document
            from marks group by key) as one
$$;
comment on function private.assessment_progress(uuid, uuid, timestamptz, timestamptz) is
  'The assessments of a period by subject, the most frequent first, each with its marks, earliest first, and their trend.';

create function private.lesson_progress(p_student_id uuid, p_tutor_id uuid, p_from timestamptz, p_until timestamptz) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
           'done', done, 'no_show_student', no_show_student, 'no_show_tutor', no_show_tutor, 'cancelled', cancelled,
           'hours_done', hours_done,
           'completion_rate', round(done::numeric / nullif(done + no_show_student + no_show_tutor, 0), 4))
    from (select count(*) filter (where status = 'done') as done,
                 count(*) filter (where status = 'no_show_student') as no_show_student,
                 count(*) filter (where status = 'no_show_tutor') as no_show_tutor,
                 count(*) filter (where status = 'cancelled') as cancelled,
                 round(coalesce(sum(extract(epoch from scheduled_end_utc - scheduled_start_utc))
                                  filter (where status = 'done'), 0) / 3600, 2) as hours_done
            from public.sessions
           where student_user_id = p_student_id and (p_tutor_id is null or tutor_user_id = p_tutor_id)
             and scheduled_start_utc >= p_from and scheduled_start_utc < p_until) as counted
$$;
comment on function private.lesson_progress(uuid, uuid, timestamptz, timestamptz) is
  'What became of the lessons that start in a period. The rate is the share that was held of those that were held or missed.';

create function private.homework_progress(p_student_id uuid, p_tutor_id uuid, p_from timestamptz, p_until timestamptz) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object(
           'assigned', assigned, 'submitted', submitted, 'late', late, 'reviewed', reviewed, 'overdue', overdue,
           'open', assigned - submitted - overdue,
           'completion_rate', round(submitted::numeric / nullif(submitted + overdue, 0), 4))
    from (select count(*) as assigned,
                 count(*) filter (where status <> 'assigned') as submitted,
                 count(*) filter (where private.was_late(h)) as late,
                 count(*) filter (where status = 'reviewed') as reviewed,
                 count(*) filter (where status = 'assigned' and due_at < private.now()) as overdue
            from public.homework h
           where student_user_id = p_student_id and (p_tutor_id is null or tutor_user_id = p_tutor_id)
             and created_at >= p_from and created_at < p_until) as counted
$$;
comment on function private.homework_progress(uuid, uuid, timestamptz, timestamptz) is
  'What became of the homework set in a period. The rate is the share that was handed in of what was handed in or is overdue; what is not due yet counts for neither.';

create function private.attendance_streak(p_student_id uuid, p_tutor_id uuid, p_until timestamptz) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  with lessons as (
    -- Each miss of the student begins a new row of lessons. What was cancelled, or missed by the tutor, is no part of any.
    select status, scheduled_start_utc,
           count(*) filter (where status = 'no_show_student') over (order by scheduled_start_utc, id) as row_no
      from public.sessions
     where student_user_id = p_student_id and (p_tutor_id is null or tutor_user_id = p_tutor_id)
       and scheduled_start_utc < p_until and status in ('done', 'no_show_student')),
  rows as (
    select row_no, count(*) filter (where status = 'done') as length,
           min(scheduled_start_utc) filter (where status = 'done') as since
      from lessons group by row_no)
  select jsonb_build_object(
           'current', coalesce((select length from rows order by row_no desc limit 1), 0),
           'since', (select since from rows order by row_no desc limit 1),
           'longest', coalesce((select max(length) from rows), 0))
$$;
comment on function private.attendance_streak(uuid, uuid, timestamptz) is
  'How many lessons in a row the student has attended without missing one, at the end of the period and at best; since the first of all.';

create function private.package_progress(p_student_id uuid, p_tutor_id uuid, p_from date, p_to date) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  with known as (
    select p.id, p.start_date, p.request_id, r.subject, private.package_document(p) as document,
           p.tier_sessions - p.sessions_used as credits,
           -- Packages of one request are used one after the other.
           sum(p.tier_sessions - p.sessions_used) filter (where p.end_date >= private.now()::date)
             over (partition by p.request_id order by p.start_date, p.id) as credits_until_here
      from public.packages p join public.requests r on r.id = p.request_id
     where p.student_user_id = p_student_id and p.status = 'active'
       and (p_tutor_id is null
            or p.request_id in (select request_id from public.matches where tutor_user_id = p_tutor_id))),
  paces as (
    select used.request_id, used.recent / weeks.so_many as a_week
      from (select k.request_id, min(s.scheduled_start_utc) as since,
                   count(*) filter (where s.scheduled_start_utc > private.now() - interval '56 days') as recent
              from (select distinct request_id from known) as k
              join public.packages p on p.request_id = k.request_id
              join public.sessions s on s.package_id = p.id
             where private.consumes_credit(s.status) and s.scheduled_start_utc <= private.now()
             group by k.request_id) as used
     cross join lateral (select least(extract(epoch from private.now() - used.since) / 604800, 8) as so_many) as weeks
     -- One lesson, or a week or two, is no pace.
     where used.recent >= 2 and weeks.so_many >= 2)
  select coalesce(jsonb_agg(
           jsonb_build_object(
             'id', k.id, 'subject', k.subject, 'tier_sessions', k.document -> 'tier_sessions',
             'sessions_used', k.document -> 'sessions_used', 'sessions_left', k.credits,
             'start_date', k.document -> 'start_date', 'end_date', k.document -> 'end_date',
             'standing', k.document -> 'standing',
             'pace_per_week', round(pace.a_week, 2),
             'expected_end', ending.on_date,
             'expected_by', case when ending.on_date is not null then
               case when planned.at is not null then 'plan' else 'pace' end end)
           order by k.document ->> 'standing' <> 'active', k.start_date, k.id), '[]')
    from known k
    left join paces pace using (request_id)
    left join lateral (
      select scheduled_start_utc as at from public.sessions
       where package_id = k.id and private.is_live(status) order by scheduled_start_utc, id
      offset greatest(k.credits - 1, 0) limit 1) as planned on k.document ->> 'standing' = 'active'
   cross join lateral (
     select case when k.document ->> 'standing' = 'active' then coalesce(
       planned.at::date, private.now()::date + ceil(k.credits_until_here / pace.a_week * 7)::integer) end as on_date) as ending
   where k.document ->> 'standing' = 'active' or (k.document ->> 'start_date')::date <= p_to and (k.document ->> 'end_date')::date >= p_from
$$;
comment on function private.package_progress(uuid, uuid, date, date) is
  'Packages that are active or were in the period, with when they will be used up: when the lesson that takes the last credit is planned, else at the pace of the last eight weeks, else nobody can say.';

create function private.progress_document(p_student_id uuid, p_tutor_id uuid, p_from date, p_to date) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_to date := coalesce(p_to, private.now()::date);
  v_from date := coalesce(p_from, v_to - 364);
  v_packages jsonb;
begin
  if v_to < v_from or v_to - v_from > 1830 then
    perform private.refuse(422, 'invalid', 'from must not be after to, nor more than 1830 days before it.', jsonb_build_object('field', 'from'));
  end if;
  v_packages := private.package_progress(p_student_id, p_tutor_id, v_from, v_to);
  return jsonb_build_object(
    'student', (select private.person_card(p) from public.profiles p where p.id = p_student_id),
    'tutor', (select private.person_card(p) from public.profiles p where p.id = p_tutor_id),
    'from', v_from, 'to', v_to, 'as_of', private.now(),
    'assessments', private.assessment_progress(p_student_id, p_tutor_id, v_from, v_to + 1),
    'lessons', private.lesson_progress(p_student_id, p_tutor_id, v_from, v_to + 1),
    'streak', private.attendance_streak(p_student_id, p_tutor_id, v_to + 1),
    'homework', private.homework_progress(p_student_id, p_tutor_id, v_from, v_to + 1),
    'packages', v_packages,
    'sessions_left', (select coalesce(sum((each ->> 'sessions_left')::integer), 0) from jsonb_array_elements(v_packages) as each
                       where each ->> 'standing' = 'active'));
end;
$$;
comment on function private.progress_document(uuid, uuid, date, date) is
  'How a student is getting on, in the last 365 days unless said otherwise; for a tutor, with that tutor.';

-- Who may read it ------------------------------------------------------------------------------------

create function private.get_progress(p_student_id uuid, p_from date, p_to date) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_side public.actor_role := private.record_side(p_student_id, v_caller_id);
begin
  return private.progress_document(p_student_id, case v_side when 'tutor' then v_caller_id end, p_from, p_to)
    || jsonb_build_object('viewer_timezone', (select timezone from public.profiles where id = v_caller_id),
                          'language', (select private.language_for(language) from public.accounts where profile_id = v_caller_id));
end;
$$;

create function public.get_progress(p_student_id uuid, p_from date default null, p_to date default null) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_progress(p_student_id, p_from, p_to);
comment on function public.get_progress(uuid, date, date) is
  'How a student is getting on in a period of days (UTC, both ends included; the last 365 unless said otherwise): for the student, admins, and tutors, who are shown what they have a part in. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function private.get_progress(uuid, date, date), public.get_progress(uuid, date, date) to authenticated;

-- Links for guardians --------------------------------------------------------------------------------

create function private.progress_link_document(p_link private.progress_links) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'id', p_link.id, 'guardian_id', p_link.guardian_id,
  'created_by', (select private.person_card(p) from public.profiles p where p.id = p_link.created_by_user_id),
  'created_at', p_link.created_at, 'expires_at', p_link.expires_at, 'revoked_at', p_link.revoked_at,
  'standing', case
    when p_link.revoked_at is not null then 'revoked'
    when p_link.expires_at <= now() then 'expired'
    else 'open' end);
comment on function private.progress_link_document(private.progress_links) is
  'A link as admins see it, without its token, which nobody knows any more.';

create function private.create_progress_link(p_guardian_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_admin();
  v_link private.progress_links;
  v_token text := private.new_token();
begin
  perform from public.guardians where id = p_guardian_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such guardian.');
  end if;
  insert into private.progress_links (guardian_id, token_hash, created_by_user_id)
  values (p_guardian_id, private.token_hash(v_token), v_caller_id)
  returning * into v_link;
  perform private.record_audit('progress_link_created', 'guardian', p_guardian_id, jsonb_build_object('link_id', v_link.id));
  return private.progress_link_document(v_link) || jsonb_build_object('token', v_token);
end;
$$;

create function public.create_progress_link(p_guardian_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.create_progress_link(p_guardian_id);
comment on function public.create_progress_link(uuid) is
  'Admins make a guardian a secret address, shown once, that opens the progress of their student for 90 days. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.create_progress_link(uuid), public.create_progress_link(uuid) to authenticated;

create function private.list_progress_links(p_guardian_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.require_admin();
  perform from public.guardians where id = p_guardian_id;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such guardian.');
  end if;
  return jsonb_build_object('links', (
    select coalesce(jsonb_agg(private.progress_link_document(l) order by l.created_at desc, l.id), '[]')
      from private.progress_links l where l.guardian_id = p_guardian_id));
end;
$$;

create function public.list_progress_links(p_guardian_id uuid) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_progress_links(p_guardian_id);
comment on function public.list_progress_links(uuid) is
  'Admins see which addresses a guardian was given, and which of them still open; newest first. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.list_progress_links(uuid), public.list_progress_links(uuid) to authenticated;

create function private.revoke_progress_link(p_link_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_link private.progress_links;
begin
  perform private.require_admin();
  select * into v_link from private.progress_links where id = p_link_id for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such link.');
  end if;
  if v_link.revoked_at is null then
    update private.progress_links set revoked_at = private.now() where id = p_link_id returning * into v_link;
    perform private.record_audit('progress_link_revoked', 'guardian', v_link.guardian_id, jsonb_build_object('link_id', p_link_id));
  end if;
  return private.progress_link_document(v_link);
end;
$$;

create function public.revoke_progress_link(p_link_id uuid) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.revoke_progress_link(p_link_id);
comment on function public.revoke_progress_link(uuid) is
  'Admins end a guardian''s address at once; one that is ended already stays so. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.revoke_progress_link(uuid), public.revoke_progress_link(uuid) to authenticated;

create function private.read_progress_link(p_token text) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_guardian public.guardians;
begin
  select g.* into v_guardian
    from private.progress_links l
    join public.guardians g on g.id = l.guardian_id
    join public.accounts a on a.profile_id = g.student_user_id
   where l.token_hash = private.token_hash(p_token)
     and l.revoked_at is null
     and l.expires_at > now()
     and a.deactivated_at is null;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such page.');
  end if;
  return private.progress_document(v_guardian.student_user_id, null, null, null)
    || jsonb_build_object('viewer_timezone', v_guardian.timezone, 'language', private.language_for(v_guardian.language));
end;
$$;

create function public.read_progress_link(p_token text) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.read_progress_link(p_token);
comment on function public.read_progress_link(text) is
  'For the service key: the progress of the student whose guardian was given this token. Refuses: 404 (also an expired or revoked token, and that of a student who may not act).';
grant execute on function private.read_progress_link(text), public.read_progress_link(text) to service_role;
