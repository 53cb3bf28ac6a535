-- A small tutoring house to try things on: one admin, three tutors and three students in Karachi, London and
-- New York, their guardians, requests, matches and packages of every size. Nobody here is real.
--
-- Everybody signs in with the password `lessonkeeper-local`, which is published here. So the seed refuses to
-- run anywhere but on a local database (the embedded stack's, or `supabase start`'s) without users.
-- Packages run five weeks from the first of the month after the clock's; ids and people never change.

do $$
begin
  if current_setting('lessonkeeper.local', true) is distinct from 'on'
     and current_setting('app.settings.jwt_secret', true)
         is distinct from 'super-secret-jwt-token-with-at-least-32-characters-long' then
    raise exception 'This is not a local database: the seed has published passwords and must not run here.';
  end if;
  if exists (select from auth.users) then
    raise exception 'This database has users already: the seed is for an empty one.';
  end if;
end;
$$;

-- People ---------------------------------------------------------------------------------------------

insert into public.profiles (id, display_name, timezone) values
  ('a0000000-0000-4000-8000-000000000001', 'Nadia Rahman',  'Asia/Karachi'),
  ('b0000000-0000-4000-8000-000000000001', 'Bilal Siddiqi', 'Asia/Karachi'),
  ('b0000000-0000-4000-8000-000000000002', 'Harriet Cole',  'Europe/London'),
  ('b0000000-0000-4000-8000-000000000003', 'Marcus Reed',   'America/New_York'),
  ('c0000000-0000-4000-8000-000000000001', 'Lena Ortiz',    'America/New_York'),
  ('c0000000-0000-4000-8000-000000000002', 'Oliver Finch',  'Europe/London'),
  ('c0000000-0000-4000-8000-000000000003', 'Zara Malik',    'Asia/Karachi');

insert into public.accounts (profile_id, email, phone, whatsapp_opt_in, language) values
  ('a0000000-0000-4000-8000-000000000001', 'admin@lessonkeeper.test',           '+923000000001', false, null),
  ('b0000000-0000-4000-8000-000000000001', 'tutor.karachi@lessonkeeper.test',   '+923000000002', true,  null),
  ('b0000000-0000-4000-8000-000000000002', 'tutor.london@lessonkeeper.test',    '+447700900101', false, 'de'),
  ('b0000000-0000-4000-8000-000000000003', 'tutor.newyork@lessonkeeper.test',   '+12025550101',  false, null),
  ('c0000000-0000-4000-8000-000000000001', 'student.newyork@lessonkeeper.test', '+12025550102',  true,  'es'),
  ('c0000000-0000-4000-8000-000000000002', 'student.london@lessonkeeper.test',  '+447700900102', false, null),
  ('c0000000-0000-4000-8000-000000000003', 'student.karachi@lessonkeeper.test', '+923000000003', true,  null);

insert into public.user_roles (profile_id, role)
select id, (case left(id::text, 1) when 'a' then 'admin' when 'b' then 'tutor' else 'student' end)::public.app_role
  from public.profiles;

insert into public.guardians (id, student_user_id, name, phone, email, timezone, whatsapp_opt_in, language, quiet_from, quiet_until, is_primary) values
  ('d0000000-0000-4000-8000-000000000001', 'c0000000-0000-4000-8000-000000000001', 'Rosa Ortiz',
   '+12025550103', 'rosa.ortiz@lessonkeeper.test', 'America/New_York', true, 'es', '20:00', '08:00', true),
  ('d0000000-0000-4000-8000-000000000002', 'c0000000-0000-4000-8000-000000000001', 'Miguel Ortiz',
   '+12025550104', null, 'America/Chicago', false, 'es', null, null, false),
  ('d0000000-0000-4000-8000-000000000003', 'c0000000-0000-4000-8000-000000000002', 'Grace Finch',
   null, 'grace.finch@lessonkeeper.test', 'Europe/London', false, null, null, null, true),
  ('d0000000-0000-4000-8000-000000000004', 'c0000000-0000-4000-8000-000000000003', 'Imran Malik',
   '+923000000004', 'imran.malik@lessonkeeper.test', 'Asia/Karachi', true, null, null, null, true);

-- Their sign-ins; confirming each address ties it to its person. The newcomer is expected by nobody.
insert into auth.users (
  id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token, recovery_token,
  email_change, email_change_token_new, email_change_token_current, phone_change, phone_change_token,
  reauthentication_token, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
select id, 'authenticated', 'authenticated', email,
       '$2b$10$UE86AP3ke/wmDZfIbUJjee1p789clueVehYxBMZx2iUjKYSbDvlg6', now(), '', '',
       '', '', '', '', '', '', '{"provider": "email", "providers": ["email"]}', '{}', now(), now()
  from (select profile_id as id, email from public.accounts
        union all
        values ('e0000000-0000-4000-8000-000000000001'::uuid, 'newcomer@lessonkeeper.test')) as people;

insert into auth.identities (id, provider, provider_id, user_id, identity_data, last_sign_in_at, created_at, updated_at)
select id, 'email', id::text, id,
       jsonb_build_object('sub', id::text, 'email', email, 'email_verified', true, 'phone_verified', false),
       now(), now(), now()
  from auth.users;

do $$
begin
  -- Supabase Auth looks users up by instance; the embedded stack's table has no such column.
  if exists (select from information_schema.columns
              where table_schema = 'auth' and table_name = 'users' and column_name = 'instance_id') then
    update auth.users set instance_id = '00000000-0000-0000-0000-000000000000';
  end if;
end;
$$;

-- What they learn, and with whom ---------------------------------------------------------------------

insert into public.requests (id, student_user_id, subject, level, status) values
  ('10000000-0000-4000-8000-000000000001', 'c0000000-0000-4000-8000-000000000001', 'Mathematics', 'Grade 8',  'matched'),
  ('10000000-0000-4000-8000-000000000002', 'c0000000-0000-4000-8000-000000000002', 'English',     'GCSE',     'matched'),
  ('10000000-0000-4000-8000-000000000003', 'c0000000-0000-4000-8000-000000000003', 'Physics',     'O Level',  'matched'),
  ('10000000-0000-4000-8000-000000000004', 'c0000000-0000-4000-8000-000000000003', 'English',     'IELTS',    'matched'),
  ('10000000-0000-4000-8000-000000000005', 'c0000000-0000-4000-8000-000000000002', 'Chess',       'Beginner', 'open');

insert into public.matches (id, request_id, student_user_id, tutor_user_id, schedule_pattern, meet_link) values
  ('20000000-0000-4000-8000-000000000001', '10000000-0000-4000-8000-000000000001',
   'c0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000001',
   '{"timezone": "America/New_York", "days": [3, 6], "time": "10:00", "duration_mins": 60}',
   'https://meet.google.com/abc-defg-hij'),
  ('20000000-0000-4000-8000-000000000002', '10000000-0000-4000-8000-000000000002',
   'c0000000-0000-4000-8000-000000000002', 'b0000000-0000-4000-8000-000000000002',
   '{"timezone": "Europe/London", "days": [2, 4], "time": "17:00", "duration_mins": 60}',
   'https://meet.google.com/bcd-efgh-ijk'),
  ('20000000-0000-4000-8000-000000000003', '10000000-0000-4000-8000-000000000003',
   'c0000000-0000-4000-8000-000000000003', 'b0000000-0000-4000-8000-000000000003',
   '{"timezone": "Asia/Karachi", "days": [1, 3, 5], "time": "18:00", "duration_mins": 60}',
   'https://meet.google.com/cde-fghi-jkl'),
  ('20000000-0000-4000-8000-000000000004', '10000000-0000-4000-8000-000000000004',
   'c0000000-0000-4000-8000-000000000003', 'b0000000-0000-4000-8000-000000000002',
   '{"timezone": "Europe/London", "days": [1, 2, 3, 4, 5], "time": "15:30", "duration_mins": 45}',
   'https://meet.google.com/def-ghij-klm');

insert into public.packages (id, request_id, student_user_id, tier_sessions, start_date, end_date)
select p.id::uuid, r.id, r.student_user_id, p.tier, month.first_day, month.first_day + 34
  from (values ('30000000-0000-4000-8000-000000000001', '10000000-0000-4000-8000-000000000001', 8),
               ('30000000-0000-4000-8000-000000000002', '10000000-0000-4000-8000-000000000002', 8),
               ('30000000-0000-4000-8000-000000000003', '10000000-0000-4000-8000-000000000003', 12),
               ('30000000-0000-4000-8000-000000000004', '10000000-0000-4000-8000-000000000004', 20)
       ) as p (id, request_id, tier)
  join public.requests r on r.id = p.request_id::uuid
 cross join (select (date_trunc('month', private.now()) + interval '1 month')::date as first_day) as month;

insert into public.holidays (id, on_date, name)
select '40000000-0000-4000-8000-000000000001', min(start_date) + 16, 'Founders'' Day' from public.packages;

insert into public.time_off (id, user_id, starts_on, ends_on, note)
select '50000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000001',
       min(start_date) + 10, min(start_date) + 11, 'Family wedding' from public.packages;
insert into public.time_off (id, user_id, starts_at, ends_at, note)
select '50000000-0000-4000-8000-000000000002', 'b0000000-0000-4000-8000-000000000003',
       (min(start_date) + 19 + time '12:00') at time zone 'UTC',
       (min(start_date) + 19 + time '15:00') at time zone 'UTC', 'Dentist' from public.packages;

-- Whom one can book for a single lesson ----------------------------------------------------------------

insert into public.listings (id, tutor_user_id, title, description, subject, duration_mins, meet_link) values
  ('60000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000002', 'Exam clinic',
   'Bring a past paper; we mark it together.', 'English', 60, 'https://meet.google.com/efg-hijk-lmn'),
  ('60000000-0000-4000-8000-000000000002', 'b0000000-0000-4000-8000-000000000001', 'Mathematics help',
   'One question, half an hour.', 'Mathematics', 30, 'https://meet.google.com/fgh-ijkl-mno');

insert into public.availability (tutor_user_id, timezone, weekday, starts_at, ends_at)
select 'b0000000-0000-4000-8000-000000000002'::uuid, 'Europe/London', weekday, '09:00', '12:00'
  from generate_series(1, 5) as weekday
union all
select 'b0000000-0000-4000-8000-000000000001'::uuid, 'Asia/Karachi', weekday, starts_at, ends_at
  from (values (2, '20:00', '24:00'), (3, '00:00', '01:00'), (4, '20:00', '24:00'), (5, '00:00', '01:00'))
       as hours (weekday, starts_at, ends_at);
