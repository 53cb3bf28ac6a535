-- 25. Learning
--
-- What people put into a student's learning record, and how it is found again. Tutors who teach the student, and
-- admins, write assessments (`record_assessment`), notes (`add_note`, private ones are for the tutor and admins) and
-- homework, which has a life of its own:
--
--   assigned (assign_homework) → submitted (submit_homework) → reviewed (review_homework)
--
-- All of it becomes learning events, which stay as they are. Who may read one is said once, by the policy of that
-- table: the reading functions here pick events as the caller, under row-level security, and only what they were
-- given is listed or ranked. `search_learning_events` puts two orders into one (reciprocal rank fusion): how well the
-- words match, and how near the meaning is.
--
-- Meanings are vectors that a language model makes: `claim_embeddings` leases what has none yet, each content once,
-- `settle_embeddings` takes them in. Without a model the words alone find. Asking the model is Python's.

-- Who stands how to a student ------------------------------------------------------------------------

create function private.record_side(p_student_id uuid, p_caller_id uuid) returns public.actor_role
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_side public.actor_role := case
    when private.has_role(p_caller_id, 'admin') then 'admin'
    when p_student_id = p_caller_id then 'student'
    when exists (select from public.matches where student_user_id = p_student_id and tutor_user_id = p_caller_id)
      or exists (select from public.bookings
                  where student_user_id = p_student_id and tutor_user_id = p_caller_id and status = 'accepted') then 'tutor' end;
begin
  -- A student is who has the role, or has a record from when they had it.
  if v_side is null or not (
       private.has_role(p_student_id, 'student')
       or exists (select from public.learning_events where student_user_id = p_student_id)) then
    perform private.refuse(404, 'not_found', 'There is no such student.');
  end if;
  return v_side;
end;
$$;
comment on function private.record_side(uuid, uuid) is
  'How the caller stands to a student''s record: admin, the student, or a tutor who shares a match or an accepted booking. Refuses: 404 when it is not theirs to see.';

create function private.require_teacher(p_student_id uuid, p_caller_id uuid) returns public.actor_role
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_side public.actor_role := private.record_side(p_student_id, p_caller_id);
begin
  if v_side = 'admin' or (v_side = 'tutor' and private.has_role(p_caller_id, 'tutor') and (
       exists (select from public.matches
                where student_user_id = p_student_id and tutor_user_id = p_caller_id and status <> 'ended')
       or exists (select from public.bookings
                   where student_user_id = p_student_id and tutor_user_id = p_caller_id and status = 'accepted'))) then
    return v_side;
  end if;
  perform private.refuse(403, 'not_allowed', 'Only a tutor who teaches the student, or an admin, may do this.');
  return null;
end;
$$;
comment on function private.require_teacher(uuid, uuid) is
  'The side of a caller who may write into a student''s record: a tutor with a match that has not ended, or an accepted booking; an admin. Refuses: 404, 403 not_allowed.';

create function private.tutor_in_record(
  p_student_id uuid, p_session_id uuid, p_caller_id uuid, p_side public.actor_role
) returns uuid
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_tutor_id uuid;
begin
  if p_session_id is not null then
    select tutor_user_id into v_tutor_id from public.sessions
     where id = p_session_id and student_user_id = p_student_id and (p_side = 'admin' or tutor_user_id = p_caller_id);
    if not found then
      perform private.refuse(422, 'invalid', 'session_id must name a session of that student''s.',
                             jsonb_build_object('field', 'session_id'));
    end if;
  end if;
  return case p_side when 'tutor' then p_caller_id else v_tutor_id end;
end;
$$;
comment on function private.tutor_in_record(uuid, uuid, uuid, public.actor_role) is
  'Whose event it will be: the tutor who writes it, or the tutor of the session that an admin names. Refuses: 422 invalid.';

create function private.clean_text(p_text text, p_most integer, p_field text, p_is_needed boolean default false) returns text
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_text text := nullif(btrim(p_text, E' \t\r\n'), '');
begin
  if (v_text is null and p_is_needed) or char_length(v_text) > p_most then
    perform private.refuse(422, 'invalid', format('%s has %s to %s characters.', p_field, p_is_needed::integer, p_most),
                           jsonb_build_object('field', p_field));
  end if;
  return v_text;
end;
$$;
comment on function private.clean_text(text, integer, text, boolean) is
  'A text without the blanks around it, null when nothing is left. Refuses (422 invalid) one that is too long, or missing.';

-- Homework -------------------------------------------------------------------------------------------

create type public.homework_status as enum ('assigned', 'submitted', 'reviewed');
comment on type public.homework_status is 'Where a piece of homework is: given, handed in, looked through.';

create table public.homework (
  id uuid primary key default gen_random_uuid(),
  student_user_id uuid not null references public.profiles (id),
  tutor_user_id uuid references public.profiles (id),
  session_id uuid references public.sessions (id),
  author_user_id uuid references public.profiles (id),
  title text not null,
  description text,
  due_at timestamptz,
  status public.homework_status not null default 'assigned',
  submitted_at timestamptz,
  submission text,
  reviewed_at timestamptz,
  mark text,
  feedback text,
  version integer not null default 1,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint homework_title_is_a_line check (private.is_line(title, 200)),
  constraint homework_description_is_bounded check (char_length(description) between 1 and 5000),
  constraint homework_submission_is_bounded check (char_length(submission) between 1 and 5000),
  constraint homework_mark_is_a_line check (private.is_line(mark, 40)),
  constraint homework_feedback_is_bounded check (char_length(feedback) between 1 and 5000),
  constraint homework_due_in_this_century check (
    due_at >= timestamptz '2000-01-01 00:00+00' and due_at < timestamptz '2101-01-01 00:00+00'),
  constraint homework_has_come_as_far_as_it_says check (
    (status = 'assigned') = (submitted_at is null) and (status = 'reviewed') = (reviewed_at is not null))
);
comment on table public.homework is 'What students are to do until then, and what became of it.';
comment on column public.homework.tutor_user_id is 'Whose homework it is: that tutor looks it through. Empty: an admin does.';
comment on column public.homework.session_id is 'The lesson it comes from, if it does.';
comment on column public.homework.author_user_id is 'Who gave it; empty when it was entered in Studio.';
comment on column public.homework.title is 'What is to be done, in a line.';
comment on column public.homework.description is 'What is to be done, at length.';
comment on column public.homework.due_at is 'Until when; handed in later it is late.';
comment on column public.homework.submitted_at is 'When it was handed in.';
comment on column public.homework.submission is 'What the student says with it.';
comment on column public.homework.reviewed_at is 'When it was looked through.';
comment on column public.homework.mark is 'How good it is, in the tutor''s own scale.';
comment on column public.homework.feedback is 'What the tutor says of it.';
comment on column public.homework.version is 'Grows with every change.';
comment on constraint homework_title_is_a_line on public.homework is 'A title is one trimmed line of 1 to 200 characters.';
comment on constraint homework_description_is_bounded on public.homework is 'A description has at most 5000 characters.';
comment on constraint homework_submission_is_bounded on public.homework is 'A comment has at most 5000 characters.';
comment on constraint homework_mark_is_a_line on public.homework is 'A mark is one trimmed line of 1 to 40 characters.';
comment on constraint homework_feedback_is_bounded on public.homework is 'Feedback has at most 5000 characters.';
comment on constraint homework_due_in_this_century on public.homework is 'due_at is a moment of this century.';
create index homework_student on public.homework (student_user_id, created_at, id);
create index homework_tutor on public.homework (tutor_user_id, created_at, id);
create index homework_session on public.homework (session_id) where session_id is not null;
create index homework_author on public.homework (author_user_id) where author_user_id is not null;

create function private.was_late(p_homework public.homework) returns boolean
language sql immutable
set search_path = '' set timezone = 'UTC'
return coalesce(p_homework.submitted_at > p_homework.due_at, false);
comment on function private.was_late(public.homework) is 'Whether homework was handed in after its date.';

create function private.stamp_homework() returns trigger
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  new.version := old.version + 1;
  if new.status <> old.status then
    new.submitted_at := case when new.status = 'assigned' then null else coalesce(old.submitted_at, private.now()) end;
    new.reviewed_at := case when new.status = 'reviewed' then private.now() end;
  end if;
  return new;
end;
$$;
comment on function private.stamp_homework() is 'Keeps when homework was handed in and looked through, whoever changes its status.';
create trigger homework_stamp before update on public.homework
  for each row execute function private.stamp_homework();
create trigger homework_touch before update on public.homework for each row execute function private.touch();
create trigger homework_audit after insert or update or delete on public.homework
  for each row execute function private.audit_change('homework', 'title,description,submission,mark,feedback');

insert into private.event_types (name, description) values
  ('assessment.recorded', 'A result was put into a student''s record.'),
  ('note.added', 'A note for everybody concerned was put into a student''s record.'),
  ('homework.assigned', 'A student was given homework.'),
  ('homework.submitted', 'Homework was handed in.'),
  ('homework.reviewed', 'Homework was looked through.');

-- Learning events ------------------------------------------------------------------------------------

create function private.learning_content(p_event_type public.learning_event_type, p_data jsonb) returns text
language sql stable
set search_path = '' set timezone = 'UTC'
return case p_event_type
  when 'assessment' then concat_ws(' ',
    'Assessment in ' || (p_data ->> 'subject') || coalesce(' (' || (p_data ->> 'topic') || ')', '') || ':',
    (p_data ->> 'score') || ' of ' || (p_data ->> 'max_score') || ' (' || (p_data ->> 'percent') || ' %).',
    p_data ->> 'comment')
  when 'homework' then concat_ws(' ',
    'Homework ' || (p_data ->> 'status')
      || case when p_data @> '{"status": "submitted", "was_late": true}' then ' late' else '' end
      || ': ' || (p_data ->> 'title') || '.',
    p_data ->> 'description', p_data ->> 'submission', 'Mark: ' || (p_data ->> 'mark') || '.', p_data ->> 'feedback')
  when 'session' then 'Summary of the lesson: ' || (p_data ->> 'text')
  when 'note' then 'Note: ' || (p_data ->> 'text') end;
comment on function private.learning_content(public.learning_event_type, jsonb) is
  'What people record, in sentences: their own words, no ids and no names. Null for what the house notes itself.';

create function private.learn(
  p_event_type public.learning_event_type, p_student_id uuid, p_tutor_id uuid, p_session_id uuid,
  p_data jsonb, p_occurred_at timestamptz, p_is_private boolean default false
) returns public.learning_events
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_event public.learning_events;
begin
  insert into public.learning_events (
    event_type, student_user_id, tutor_user_id, session_id, author_user_id, is_private, event_data,
    content_for_embedding, occurred_at)
  values (p_event_type, p_student_id, p_tutor_id, p_session_id, private.caller_id(), p_is_private, p_data,
          private.learning_content(p_event_type, p_data), p_occurred_at)
  returning * into v_event;
  return v_event;
end;
$$;
comment on function private.learn(
  public.learning_event_type, uuid, uuid, uuid, jsonb, timestamptz, boolean) is 'Puts what the caller records into a student''s record.';

create function private.learn_from_homework() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_at timestamptz := case new.status
    when 'assigned' then new.created_at when 'submitted' then new.submitted_at else new.reviewed_at end;
begin
  if tg_op = 'UPDATE' and new.status <= old.status then
    return null;  -- a correction in Studio is in the audit
  end if;
  perform private.learn('homework', new.student_user_id, new.tutor_user_id, new.session_id,
    jsonb_strip_nulls(jsonb_build_object(
      'homework_id', new.id, 'status', new.status, 'title', new.title, 'due_at', new.due_at)
      || case new.status
           when 'assigned' then jsonb_build_object('description', new.description)
           when 'submitted' then jsonb_build_object('was_late', private.was_late(new), 'submission', new.submission)
           else jsonb_build_object('was_late', private.was_late(new), 'mark', new.mark, 'feedback', new.feedback) end),
    v_at);
  perform private.record_event('homework.' || new.status, 'homework', new.id,
    jsonb_build_object('homework_id', new.id, 'student_id', new.student_user_id, 'tutor_id', new.tutor_user_id,
                       'session_id', new.session_id, 'status', new.status, 'due_at', new.due_at,
                       'was_late', private.was_late(new)), v_at);
  return null;
end;
$$;
comment on function private.learn_from_homework() is
  'Every step of homework is a learning event, and told to the world; by whomever it was taken.';
create trigger homework_learn after insert or update on public.homework
  for each row execute function private.learn_from_homework();

create function private.learning_event_document(p_event public.learning_events) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'id', p_event.id, 'event_type', p_event.event_type, 'student_id', p_event.student_user_id,
  'tutor_id', p_event.tutor_user_id, 'session_id', p_event.session_id, 'author_id', p_event.author_user_id,
  'is_private', p_event.is_private, 'occurred_at', p_event.occurred_at, 'event_data', p_event.event_data,
  'content', p_event.content_for_embedding);
comment on function private.learning_event_document(public.learning_events) is 'A learning event as every answer shows it.';

create function private.homework_document(p_homework public.homework) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'id', p_homework.id, 'student_id', p_homework.student_user_id, 'tutor_id', p_homework.tutor_user_id,
  'session_id', p_homework.session_id, 'author_id', p_homework.author_user_id,
  'title', p_homework.title, 'description', p_homework.description, 'due_at', p_homework.due_at,
  'status', p_homework.status, 'submitted_at', p_homework.submitted_at, 'submission', p_homework.submission,
  'was_late', private.was_late(p_homework),
  'is_overdue', p_homework.status = 'assigned' and coalesce(p_homework.due_at < private.now(), false),
  'reviewed_at', p_homework.reviewed_at, 'mark', p_homework.mark, 'feedback', p_homework.feedback,
  'version', p_homework.version, 'created_at', p_homework.created_at, 'updated_at', p_homework.updated_at);

-- Policies and grants --------------------------------------------------------------------------------

alter table public.homework enable row level security;
grant select on public.homework to authenticated, service_role;
create policy "Tutors and students read their own homework, admins all" on public.homework
  for select to authenticated
  using (student_user_id = (select private.caller_id())
         or tutor_user_id = (select private.caller_id())
         or (select private.is_admin()));

-- Writing --------------------------------------------------------------------------------------------

create function private.record_assessment(
  p_student_id uuid, p_subject text, p_score numeric, p_max_score numeric, p_topic text, p_comment text,
  p_taken_at timestamptz, p_session_id uuid
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_side public.actor_role := private.require_teacher(p_student_id, v_caller_id);
  v_tutor_id uuid := private.tutor_in_record(p_student_id, p_session_id, v_caller_id, v_side);
  v_taken_at timestamptz := coalesce(p_taken_at, private.now());
  v_event public.learning_events;
begin
  if (private.is_line(p_subject, 120)) is not true then
    perform private.refuse(422, 'invalid', 'subject is one trimmed line of 1 to 120 characters.', jsonb_build_object('field', 'subject'));
  end if;
  if not private.is_line(p_topic, 120) then
    perform private.refuse(422, 'invalid', 'topic is one trimmed line of 1 to 120 characters.', jsonb_build_object('field', 'topic'));
  end if;
  if (p_max_score > 0 and p_max_score <= 100000) is not true then
    perform private.refuse(422, 'invalid', 'max_score is more than 0, at most 100000.', jsonb_build_object('field', 'max_score'));
  end if;
  if (p_score between 0 and p_max_score) is not true then
    perform private.refuse(422, 'invalid', 'score is 0 to max_score.', jsonb_build_object('field', 'score'));
  end if;
  if v_taken_at < timestamptz '2000-01-01 00:00+00' or v_taken_at > private.now() then
    perform private.refuse(422, 'invalid', 'taken_at is a moment of this century that has come.', jsonb_build_object('field', 'taken_at'));
  end if;
  perform private.limit_calls('record_learning', 300, interval '1 hour');
  v_event := private.learn('assessment', p_student_id, v_tutor_id, p_session_id,
    jsonb_strip_nulls(jsonb_build_object(
      'subject', p_subject, 'topic', p_topic, 'score', trim_scale(round(p_score, 3)), 'max_score', trim_scale(round(p_max_score, 3)),
      'percent', trim_scale(round(100 * p_score / p_max_score, 1)), 'comment', private.clean_text(p_comment, 2000, 'comment'))),
    v_taken_at);
  perform private.record_audit('assessment_recorded', 'learning_event', v_event.id, jsonb_build_object('student_id', p_student_id));
  perform private.record_event('assessment.recorded', 'learning_event', v_event.id,
    jsonb_build_object('learning_event_id', v_event.id, 'student_id', p_student_id, 'tutor_id', v_tutor_id,
                       'session_id', p_session_id, 'taken_at', v_taken_at), private.now());
  return jsonb_build_object('event', private.learning_event_document(v_event), 'changed', true);
end;
$$;

create function public.record_assessment(
  p_student_id uuid, p_subject text, p_score numeric, p_max_score numeric, p_topic text default null, p_comment text default null,
  p_taken_at timestamptz default null, p_session_id uuid default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.record_assessment(p_student_id, p_subject, p_score, p_max_score, p_topic, p_comment, p_taken_at, p_session_id);
comment on function public.record_assessment(uuid, text, numeric, numeric, text, text, timestamptz, uuid) is
  'A tutor who teaches the student, or an admin, records a result: score of max_score. Refuses: 401, 403 not_allowed, 404, 422 invalid, 429 too_many_requests.';
grant execute on function
  private.record_assessment(uuid, text, numeric, numeric, text, text, timestamptz, uuid),
  public.record_assessment(uuid, text, numeric, numeric, text, text, timestamptz, uuid) to authenticated;

create function private.add_note(p_student_id uuid, p_text text, p_is_private boolean, p_session_id uuid) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_side public.actor_role := private.require_teacher(p_student_id, v_caller_id);
  v_tutor_id uuid := private.tutor_in_record(p_student_id, p_session_id, v_caller_id, v_side);
  v_is_private boolean := coalesce(p_is_private, false);
  v_text text := private.clean_text(p_text, 5000, 'text', true);
  v_event public.learning_events;
begin
  perform private.limit_calls('record_learning', 300, interval '1 hour');
  v_event := private.learn('note', p_student_id,
    -- What an admin remarks in private is for admins.
    case when not v_is_private or v_side = 'tutor' then v_tutor_id end,
    p_session_id, jsonb_build_object('text', v_text), private.now(), v_is_private);
  perform private.record_audit('note_added', 'learning_event', v_event.id,
                               jsonb_build_object('student_id', p_student_id, 'is_private', v_is_private));
  if not v_is_private then
    perform private.record_event('note.added', 'learning_event', v_event.id,
      jsonb_build_object('learning_event_id', v_event.id, 'student_id', p_student_id, 'tutor_id', v_tutor_id,
                         'session_id', p_session_id), private.now());
  end if;
  return jsonb_build_object('event', private.learning_event_document(v_event), 'changed', true);
end;
$$;

create function public.add_note(
  p_student_id uuid, p_text text, p_is_private boolean default false, p_session_id uuid default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.add_note(p_student_id, p_text, p_is_private, p_session_id);
comment on function public.add_note(uuid, text, boolean, uuid) is
  'A tutor who teaches the student, or an admin, adds a note; the student reads it unless it is private. A private remark is for its tutor and admins. Refuses: 401, 403 not_allowed, 404, 422 invalid, 429 too_many_requests.';
grant execute on function private.add_note(uuid, text, boolean, uuid), public.add_note(uuid, text, boolean, uuid) to authenticated;

create function private.assign_homework(
  p_student_id uuid, p_title text, p_description text, p_due_at timestamptz, p_session_id uuid
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_side public.actor_role := private.require_teacher(p_student_id, v_caller_id);
  v_tutor_id uuid := private.tutor_in_record(p_student_id, p_session_id, v_caller_id, v_side);
  v_homework public.homework;
  v_violated text;
begin
  if p_title is null then
    perform private.refuse(422, 'invalid', 'title is one trimmed line of 1 to 200 characters.', jsonb_build_object('field', 'title'));
  end if;
  perform private.limit_calls('record_learning', 300, interval '1 hour');
  insert into public.homework (student_user_id, tutor_user_id, session_id, author_user_id, title, description, due_at)
  values (p_student_id, v_tutor_id, p_session_id, v_caller_id, p_title,
          private.clean_text(p_description, 5000, 'description'), p_due_at)
  returning * into v_homework;
  return jsonb_build_object('homework', private.homework_document(v_homework), 'changed', true);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.assign_homework(
  p_student_id uuid, p_title text, p_description text default null, p_due_at timestamptz default null, p_session_id uuid default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.assign_homework(p_student_id, p_title, p_description, p_due_at, p_session_id);
comment on function public.assign_homework(uuid, text, text, timestamptz, uuid) is
  'A tutor who teaches the student, or an admin, gives homework, until a date or not. Refuses: 401, 403 not_allowed, 404, 422 invalid, 429 too_many_requests.';
grant execute on function
  private.assign_homework(uuid, text, text, timestamptz, uuid), public.assign_homework(uuid, text, text, timestamptz, uuid) to authenticated;

create function private.lock_homework(p_homework_id uuid, p_caller_id uuid, p_to public.homework_status) returns public.homework
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_homework public.homework;
begin
  select * into v_homework from public.homework
   where id = p_homework_id
     and (p_caller_id in (student_user_id, tutor_user_id) or private.has_role(p_caller_id, 'admin')) for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such homework.');
  end if;
  if not (private.has_role(p_caller_id, 'admin')
          or (p_caller_id = v_homework.tutor_user_id and private.has_role(p_caller_id, 'tutor'))
          or (p_caller_id = v_homework.student_user_id and private.has_role(p_caller_id, 'student') and p_to = 'submitted'))
     is not false then
    perform private.refuse(403, 'not_allowed', case p_to
      when 'submitted' then 'Only its student, its tutor or an admin may do this.'
      else 'Only its tutor or an admin may do this.' end);
  end if;
  return v_homework;
end;
$$;
comment on function private.lock_homework(uuid, uuid, public.homework_status) is
  'Homework that the caller may take this far, locked. Refuses: 404 when it is not theirs to see, 403 not_allowed.';

create function private.submit_homework(p_homework_id uuid, p_comment text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_homework public.homework := private.lock_homework(p_homework_id, private.require_caller(), 'submitted');
  v_comment text := private.clean_text(p_comment, 5000, 'comment');
begin
  if v_homework.status = 'submitted' and v_homework.submission is not distinct from v_comment then
    return jsonb_build_object('homework', private.homework_document(v_homework), 'changed', false);
  end if;
  if v_homework.status <> 'assigned' then
    perform private.refuse(409, 'illegal_transition', 'It has been handed in already.',
                           jsonb_build_object('from', v_homework.status, 'to', 'submitted'));
  end if;
  update public.homework set status = 'submitted', submission = v_comment where id = p_homework_id
  returning * into v_homework;
  return jsonb_build_object('homework', private.homework_document(v_homework), 'changed', true);
end;
$$;

create function public.submit_homework(p_homework_id uuid, p_comment text default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.submit_homework(p_homework_id, p_comment);
comment on function public.submit_homework(uuid, text) is
  'A student hands in homework, or its tutor or an admin for them; after its date it is late. The same again changes nothing. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, 422 invalid.';
grant execute on function private.submit_homework(uuid, text), public.submit_homework(uuid, text) to authenticated;

create function private.review_homework(p_homework_id uuid, p_mark text, p_feedback text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_homework public.homework := private.lock_homework(p_homework_id, private.require_caller(), 'reviewed');
  v_mark text := private.clean_text(p_mark, 40, 'mark');
  v_feedback text := private.clean_text(p_feedback, 5000, 'feedback');
  v_violated text;
begin
  if v_homework.status = 'reviewed' and (v_homework.mark, v_homework.feedback) is not distinct from (v_mark, v_feedback) then
    return jsonb_build_object('homework', private.homework_document(v_homework), 'changed', false);
  end if;
  if v_homework.status <> 'submitted' then
    perform private.refuse(409, 'illegal_transition', case v_homework.status
      when 'assigned' then 'It has not been handed in.' else 'It has been looked through already.' end,
      jsonb_build_object('from', v_homework.status, 'to', 'reviewed'));
  end if;
  update public.homework set status = 'reviewed', mark = v_mark, feedback = v_feedback where id = p_homework_id
  returning * into v_homework;
  return jsonb_build_object('homework', private.homework_document(v_homework), 'changed', true);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.review_homework(p_homework_id uuid, p_mark text default null, p_feedback text default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.review_homework(p_homework_id, p_mark, p_feedback);
comment on function public.review_homework(uuid, text, text) is
  'Its tutor or an admin looks through homework that was handed in, with a mark and feedback if there is any. The same again changes nothing. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, 422 invalid.';
grant execute on function private.review_homework(uuid, text, text), public.review_homework(uuid, text, text) to authenticated;

-- Reading: what there is to read is picked as the caller ----------------------------------------------

create function private.page_of(p_limit integer) returns integer
language sql immutable
set search_path = '' set timezone = 'UTC'
return greatest(least(coalesce(p_limit, 50), 200), 0) + 1;
comment on function private.page_of(integer) is 'How many rows to read for a page: one more, to know whether there are more.';

create function private.record_page(p_student_id uuid, p_limit integer) returns integer
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.record_side(p_student_id, private.require_caller());
  if coalesce(p_limit, 50) not between 1 and 200 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 200.', jsonb_build_object('field', 'limit'));
  end if;
  return coalesce(p_limit, 50);
end;
$$;
comment on function private.record_page(uuid, integer) is
  'The length of a page of a student''s record that the caller may see. Refuses: 401, 403 not_allowed, 404, 422 invalid.';

create function private.listed_events(p_student_id uuid, p_limit integer, p_name text, p_ids uuid[]) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_limit integer := private.record_page(p_student_id, p_limit);
begin
  return jsonb_build_object(
    p_name, (select coalesce(jsonb_agg(private.learning_event_document(e) order by e.occurred_at desc, e.id desc), '[]')
               from public.learning_events e where e.id = any (p_ids[1:v_limit])),
    'has_more', cardinality(p_ids) > v_limit,
    'viewer_timezone', (select timezone from public.profiles where id = private.caller_id()));
end;
$$;
comment on function private.listed_events(uuid, integer, text, uuid[]) is
  'A page of the learning events that were picked as the caller; not reached but through the lists.';

create function private.listed_homework(p_student_id uuid, p_limit integer, p_ids uuid[]) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_limit integer := private.record_page(p_student_id, p_limit);
begin
  return jsonb_build_object(
    'homework', (select coalesce(jsonb_agg(private.homework_document(h) order by h.created_at desc, h.id desc), '[]')
                   from public.homework h where h.id = any (p_ids[1:v_limit])),
    'has_more', cardinality(p_ids) > v_limit,
    'viewer_timezone', (select timezone from public.profiles where id = private.caller_id()));
end;
$$;
comment on function private.listed_homework(uuid, integer, uuid[]) is
  'A page of the homework that was picked as the caller; not reached but through its list.';
grant execute on function
  private.page_of(integer), private.listed_events(uuid, integer, text, uuid[]), private.listed_homework(uuid, integer, uuid[])
  to authenticated;

create function private.list_learning_events(
  p_student_id uuid, p_types public.learning_event_type[], p_after_occurred_at timestamptz, p_after_id uuid, p_limit integer
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.listed_events(p_student_id, p_limit, 'events', array(
  select e.id from public.learning_events e
   where e.student_user_id = p_student_id
     and (p_types is null or e.event_type = any (p_types))
     and (p_after_occurred_at is null or (e.occurred_at, e.id) < (p_after_occurred_at, p_after_id))
   order by e.occurred_at desc, e.id desc limit private.page_of(p_limit)));

create function public.list_learning_events(
  p_student_id uuid, p_types public.learning_event_type[] default null,
  p_after_occurred_at timestamptz default null, p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_learning_events(p_student_id, p_types, p_after_occurred_at, p_after_id, p_limit);
comment on function public.list_learning_events(uuid, public.learning_event_type[], timestamptz, uuid, integer) is
  'A student''s record as far as the caller may read it, newest first, a page at a time. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.list_learning_events(uuid, public.learning_event_type[], timestamptz, uuid, integer),
  public.list_learning_events(uuid, public.learning_event_type[], timestamptz, uuid, integer) to authenticated;

create function private.list_assessments(
  p_student_id uuid, p_after_occurred_at timestamptz, p_after_id uuid, p_limit integer
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.listed_events(p_student_id, p_limit, 'assessments', array(
  select e.id from public.learning_events e
   where e.student_user_id = p_student_id and e.event_type = 'assessment'
     and (p_after_occurred_at is null or (e.occurred_at, e.id) < (p_after_occurred_at, p_after_id))
   order by e.occurred_at desc, e.id desc limit private.page_of(p_limit)));

create function public.list_assessments(
  p_student_id uuid, p_after_occurred_at timestamptz default null, p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_assessments(p_student_id, p_after_occurred_at, p_after_id, p_limit);
comment on function public.list_assessments(uuid, timestamptz, uuid, integer) is
  'A student''s results as far as the caller may read them, newest first, a page at a time. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.list_assessments(uuid, timestamptz, uuid, integer), public.list_assessments(uuid, timestamptz, uuid, integer) to authenticated;

create function private.list_notes(
  p_student_id uuid, p_after_occurred_at timestamptz, p_after_id uuid, p_limit integer
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.listed_events(p_student_id, p_limit, 'notes', array(
  select e.id from public.learning_events e
   where e.student_user_id = p_student_id and e.event_type = 'note'
     and (p_after_occurred_at is null or (e.occurred_at, e.id) < (p_after_occurred_at, p_after_id))
   order by e.occurred_at desc, e.id desc limit private.page_of(p_limit)));

create function public.list_notes(
  p_student_id uuid, p_after_occurred_at timestamptz default null, p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_notes(p_student_id, p_after_occurred_at, p_after_id, p_limit);
comment on function public.list_notes(uuid, timestamptz, uuid, integer) is
  'The notes on a student as far as the caller may read them, newest first, a page at a time. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.list_notes(uuid, timestamptz, uuid, integer), public.list_notes(uuid, timestamptz, uuid, integer) to authenticated;

create function private.list_homework(
  p_student_id uuid, p_status public.homework_status[], p_after_created_at timestamptz, p_after_id uuid, p_limit integer
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.listed_homework(p_student_id, p_limit, array(
  select h.id from public.homework h
   where h.student_user_id = p_student_id
     and (p_status is null or h.status = any (p_status))
     and (p_after_created_at is null or (h.created_at, h.id) < (p_after_created_at, p_after_id))
   order by h.created_at desc, h.id desc limit private.page_of(p_limit)));

create function public.list_homework(
  p_student_id uuid, p_status public.homework_status[] default null,
  p_after_created_at timestamptz default null, p_after_id uuid default null, p_limit integer default 50
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.list_homework(p_student_id, p_status, p_after_created_at, p_after_id, p_limit);
comment on function public.list_homework(uuid, public.homework_status[], timestamptz, uuid, integer) is
  'A student''s homework as far as the caller may read it, newest first, a page at a time. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.list_homework(uuid, public.homework_status[], timestamptz, uuid, integer),
  public.list_homework(uuid, public.homework_status[], timestamptz, uuid, integer) to authenticated;

-- What the house pays for ----------------------------------------------------------------------------

create table private.model_calls (
  on_date date primary key,
  calls integer not null
);
comment on table private.model_calls is 'How often a language model was asked on a day (UTC), by whomever.';
alter table private.model_calls enable row level security;

create function private.model_calls_left() returns boolean
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select coalesce((select calls from private.model_calls where on_date = private.now()::date), 0) < model_calls_a_day
    from public.settings
$$;
comment on function private.model_calls_left() is 'Whether the house would pay for one call more today.';

create function private.count_model_call() returns boolean
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
begin
  if not private.model_calls_left() then
    return false;
  end if;
  insert into private.model_calls as c (on_date, calls) values (private.now()::date, 1)
  on conflict (on_date) do update set calls = c.calls + 1
    where c.calls < (select model_calls_a_day from public.settings);
  return found;
end;
$$;
comment on function private.count_model_call() is 'Counts one call of a language model, before it is made; false when the day''s are used up.';

create function private.take_model_call(p_kind text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  perform private.require_caller();
  if (p_kind in ('brief', 'summary', 'search')) is not true then
    perform private.refuse(422, 'invalid', 'kind is brief, summary or search.', jsonb_build_object('field', 'kind'));
  end if;
  perform private.limit_calls('model_' || p_kind, 60, interval '1 hour');
  return jsonb_build_object('allowed', private.count_model_call());
end;
$$;

create function public.take_model_call(p_kind text) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.take_model_call(p_kind);
comment on function public.take_model_call(text) is
  'Asked before a language model is: counts the call, up to 60 an hour for a person and a kind, and says whether the house still pays for it today. Refuses: 401, 403 not_allowed, 422 invalid, 429 too_many_requests.';
grant execute on function private.take_model_call(text), public.take_model_call(text) to authenticated;

-- Meanings -------------------------------------------------------------------------------------------

create table private.embeddings (
  content_hash bytea not null,
  space text not null,
  embedding extensions.vector,
  attempts integer not null default 1,
  leased_until timestamptz,
  created_at timestamptz not null default private.now(),
  primary key (content_hash, space),
  constraint embeddings_made_or_leased check (num_nonnulls(embedding, leased_until) = 1)
);
comment on table private.embeddings is 'The meaning of each content, made once for a model; or the lease of the job that is making it.';
comment on column private.embeddings.content_hash is 'SHA-256 of the content.';
comment on column private.embeddings.space is 'Which model made it, of which dimension: vectors of two spaces are never compared.';
comment on column private.embeddings.attempts is 'How often it was handed to a job.';
comment on column private.embeddings.leased_until is 'Until when it is that job''s alone; empty once it is made.';
alter table private.embeddings enable row level security;

create table private.event_embeddings (
  event_id uuid primary key references public.learning_events (id) on delete cascade,
  content_hash bytea not null,
  space text not null default ''
);
comment on table private.event_embeddings is
  'The learning events that are found by their meaning: all but private remarks, which no model ever reads.';
comment on column private.event_embeddings.space is
  'The space in which the job has given the event its meaning; empty before it came by. That the same content has been made for another event tells nobody anything until then.';
create index event_embeddings_content on private.event_embeddings (content_hash);
create index event_embeddings_space on private.event_embeddings (space, event_id);
alter table private.event_embeddings enable row level security;

create function private.content_hash(p_content text) returns bytea
language sql immutable
set search_path = '' set timezone = 'UTC'
return sha256(convert_to(p_content, 'UTF8'));

create function private.embedding_space(p_model text, p_dimension integer) returns text
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  if private.is_line(p_model, 120) is not true then
    perform private.refuse(422, 'invalid', 'model is one trimmed line of 1 to 120 characters.', jsonb_build_object('field', 'model'));
  end if;
  if (p_dimension between 1 and 4096) is not true then
    perform private.refuse(422, 'invalid', 'dimension is 1 to 4096.', jsonb_build_object('field', 'dimension'));
  end if;
  return p_model || '/' || p_dimension;
end;
$$;
comment on function private.embedding_space(text, integer) is 'The name of a model''s space. Refuses: 422 invalid.';

create function private.as_vector(p_embedding jsonb, p_field text) returns extensions.vector
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  if jsonb_typeof(p_embedding) is distinct from 'array'
     or jsonb_array_length(p_embedding) not between 1 and 4096
     or exists (select from jsonb_array_elements(p_embedding) as part
                 where jsonb_typeof(part) <> 'number' or abs((part #>> '{}')::numeric) > 1000000) then
    perform private.refuse(422, 'invalid', format('%s is a list of 1 to 4096 numbers.', p_field), jsonb_build_object('field', p_field));
  end if;
  return p_embedding::text::extensions.vector;
end;
$$;
comment on function private.as_vector(jsonb, text) is 'A list of numbers as a vector. Refuses: 422 invalid.';

create function private.is_leased(p_content_hash bytea, p_space text) returns boolean
language sql stable
set search_path = '' set timezone = 'UTC'
return exists (select from private.embeddings
                where content_hash = p_content_hash and space = p_space and leased_until > private.now());
comment on function private.is_leased(bytea, text) is 'Whether a job is making the meaning of that content.';

create function private.await_embedding() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
begin
  insert into private.event_embeddings (event_id, content_hash)
  values (new.id, private.content_hash(new.content_for_embedding));
  return null;
end;
$$;
create trigger learning_events_await_embedding after insert on public.learning_events
  for each row when (not new.is_private) execute function private.await_embedding();

create function private.claim_embeddings(p_model text, p_dimension integer, p_limit integer, p_lease_seconds integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_space text := private.embedding_space(p_model, p_dimension);
  v_now timestamptz := private.now();
  v_hashes bytea[];
  v_known uuid[];
  v_seen integer;
begin
  if p_limit is null or p_limit not between 1 and 500 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 500.', jsonb_build_object('field', 'limit'));
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 5 and 3600 then
    perform private.refuse(422, 'invalid', 'lease_seconds must be 5 to 3600.', jsonb_build_object('field', 'lease_seconds'));
  end if;
  -- Both ends of the index, so that the millions which have their meaning are never walked over.
  with before as (
    select w.event_id, w.content_hash from private.event_embeddings w
     where w.space < v_space and not private.is_leased(w.content_hash, v_space)
     order by w.space, w.event_id limit p_limit for update skip locked
  ), after as (
    select w.event_id, w.content_hash from private.event_embeddings w
     where w.space > v_space and not private.is_leased(w.content_hash, v_space)
     order by w.space, w.event_id limit p_limit for update skip locked
  ), waiting as (
    select w.event_id, w.content_hash, made.content_hash is not null as is_made
      from (select * from before union all select * from after limit p_limit) as w
      left join private.embeddings made
        on made.content_hash = w.content_hash and made.space = v_space and made.embedding is not null
  )
  select array_agg(event_id) filter (where is_made),
         array_agg(distinct content_hash) filter (where not is_made), count(*)
    into v_known, v_hashes, v_seen
    from waiting;
  update private.event_embeddings set space = v_space where event_id = any (v_known);
  if v_hashes is not null and not private.count_model_call() then
    return jsonb_build_object('contents', '[]'::jsonb, 'more', false, 'allowed', false);
  end if;
  with leased as (
    insert into private.embeddings as e (content_hash, space, leased_until)
    select hash, v_space, v_now + make_interval(secs => p_lease_seconds) from unnest(v_hashes) as hash order by hash
    on conflict (content_hash, space) do update
      -- What five jobs did not bring back is tried once a day.
      set attempts = e.attempts + 1,
          leased_until = greatest(excluded.leased_until, case when e.attempts >= 5 then v_now + interval '1 day' end)
      where e.leased_until <= v_now
    returning e.content_hash
  )
  select array_agg(content_hash) into v_hashes from leased;
  return jsonb_build_object(
    'contents', (
      select coalesce(jsonb_agg(jsonb_build_object('content_hash', encode(hash, 'hex'), 'content', (
               select left(l.content_for_embedding, 8000)
                 from private.event_embeddings w join public.learning_events l on l.id = w.event_id
                where w.content_hash = hash limit 1)) order by hash), '[]')
        from unnest(v_hashes) as hash),
    'more', v_seen >= p_limit, 'allowed', true);
end;
$$;

create function public.claim_embeddings(
  p_model text, p_dimension integer, p_limit integer default 100, p_lease_seconds integer default 120
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.claim_embeddings(p_model, p_dimension, p_limit, p_lease_seconds);
comment on function public.claim_embeddings(text, integer, integer, integer) is
  'The embedding job leases contents that have no vector of this model and dimension yet, each content once, and gives events whose content has one theirs; a batch counts as one call of the model ("allowed": false when the day''s are used up). Ask again while "more". For the service key alone. Refuses: 422 invalid.';
grant execute on function
  private.claim_embeddings(text, integer, integer, integer), public.claim_embeddings(text, integer, integer, integer) to service_role;

create function private.settle_embeddings(p_model text, p_dimension integer, p_vectors jsonb) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_space text := private.embedding_space(p_model, p_dimension);
  v_events uuid[];
  v_settled integer;
begin
  if jsonb_typeof(p_vectors) is distinct from 'array'
     or exists (select from jsonb_array_elements(p_vectors) as each
                 where jsonb_typeof(each) <> 'object' or each ->> 'content_hash' !~ '^[0-9a-f]{64}$'
                    or not each ? 'content_hash'
                    or extensions.vector_dims(private.as_vector(each -> 'embedding', 'embedding')) <> p_dimension) then
    perform private.refuse(422, 'invalid', 'Every vector needs its content_hash and an embedding of that dimension.',
                           jsonb_build_object('field', 'vectors'));
  end if;
  -- Events before their meanings, as the claim does. One that comes in meanwhile is given its meaning by the next claim.
  select array_agg(event_id) into v_events from (
    select w.event_id from private.event_embeddings w
     where w.content_hash in (select decode(each ->> 'content_hash', 'hex') from jsonb_array_elements(p_vectors) as each)
     order by w.event_id for update) as locked;
  with made as (
    select distinct on (content_hash) decode(each ->> 'content_hash', 'hex') as content_hash,
           private.as_vector(each -> 'embedding', 'embedding') as embedding
      from jsonb_array_elements(p_vectors) as each order by content_hash
  ), locked as (
    select e.content_hash, made.embedding from private.embeddings e join made using (content_hash)
     where e.space = v_space and e.embedding is null order by e.content_hash for update of e
  )
  update private.embeddings e set embedding = locked.embedding, leased_until = null
    from locked where e.content_hash = locked.content_hash and e.space = v_space;
  get diagnostics v_settled = row_count;
  update private.event_embeddings w set space = v_space
   where w.event_id = any (v_events) and w.space <> v_space
     and exists (select from private.embeddings e
                  where e.content_hash = w.content_hash and e.space = v_space and e.embedding is not null);
  return jsonb_build_object('settled', v_settled, 'stale', jsonb_array_length(p_vectors) - v_settled);
end;
$$;

create function public.settle_embeddings(p_model text, p_dimension integer, p_vectors jsonb) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.settle_embeddings(p_model, p_dimension, p_vectors);
comment on function public.settle_embeddings(text, integer, jsonb) is
  'The embedding job brings the vectors of contents it leased: [{"content_hash", "embedding": [numbers]}]. What another job brought before, or nobody leased, changes nothing. For the service key alone. Refuses: 422 invalid.';
grant execute on function
  private.settle_embeddings(text, integer, jsonb), public.settle_embeddings(text, integer, jsonb) to service_role;

-- Searching ------------------------------------------------------------------------------------------

create function private.ranked_events(p_ids uuid[], p_query text, p_space text, p_embedding extensions.vector, p_limit integer)
returns table (event_id uuid, text_rank integer, vector_rank integer, score numeric)
language sql stable rows 20
set search_path = '' set timezone = 'UTC'
as $$
  with asked as materialized (
    -- Where no event has all the words, any of them will do; not where one was asked to be missing.
    select every_word, case when every_word::text !~ '!' then replace(every_word::text, ' & ', ' | ')::tsquery end as any_word
      from websearch_to_tsquery('pg_catalog.english', p_query) as every_word
  ), mine as materialized (
    -- Each of these events is read once, by its id; no event of anybody else is, however common its words.
    select e.id, e.occurred_at,
           case when e.search @@ every_word then ts_rank(e.search, every_word, 1) end as every_word,
           case when e.search @@ any_word then ts_rank(e.search, any_word, 1) end as any_word,
           m.embedding operator(extensions.<=>) p_embedding as distance
      from asked, public.learning_events e
      left join private.event_embeddings w on w.event_id = e.id and w.space = p_space
      left join private.embeddings m on m.content_hash = w.content_hash and m.space = w.space
     where e.id = any (p_ids)
  ), told as (
    select id, occurred_at, case when exists (select from mine where every_word is not null) then every_word else any_word end as closeness
      from mine
  ), by_words as (
    select id, row_number() over (order by closeness desc, occurred_at desc, id)::integer as place
      from told where closeness is not null order by place limit 60
  ), by_meaning as (
    select id, row_number() over (order by distance, occurred_at desc, id)::integer as place
      from mine where distance <> 'NaN' order by place limit 60
  )
  select id, t.place, v.place,
         round(coalesce(1.0 / (60 + t.place), 0) + coalesce(1.0 / (60 + v.place), 0), 6) as score
    from by_words t full join by_meaning v using (id)
    join mine using (id)
   order by score desc, mine.occurred_at desc, id limit p_limit
$$;
comment on function private.ranked_events(uuid[], text, text, extensions.vector, integer) is
  'These events in the order of reciprocal rank fusion (k = 60): by their words, and by their meaning where both are of one space.';

create function private.found_events(
  p_student_id uuid, p_query text, p_embedding jsonb, p_model text, p_limit integer, p_ids uuid[]
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_limit integer := coalesce(p_limit, 20);
  v_query text;
  v_vector extensions.vector;
  v_space text;
begin
  perform private.record_side(p_student_id, private.require_caller());
  v_query := private.clean_text(p_query, 500, 'query', true);
  if v_limit not between 1 and 50 then
    perform private.refuse(422, 'invalid', 'limit must be 1 to 50.', jsonb_build_object('field', 'limit'));
  end if;
  if p_embedding is not null then
    v_vector := private.as_vector(p_embedding, 'embedding');
    v_space := private.embedding_space(p_model, extensions.vector_dims(v_vector));
  end if;
  return jsonb_build_object(
    'hits', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'event', private.learning_event_document(e),
               'text_rank', r.text_rank, 'vector_rank', r.vector_rank, 'score', r.score)
             order by r.score desc, e.occurred_at desc, e.id), '[]')
        from private.ranked_events(p_ids, v_query, v_space, v_vector, v_limit) as r
        join public.learning_events e on e.id = r.event_id),
    'viewer_timezone', (select timezone from public.profiles where id = private.caller_id()));
end;
$$;
comment on function private.found_events(uuid, text, jsonb, text, integer, uuid[]) is
  'The best of the learning events that were picked as the caller; not reached but through the search.';
grant execute on function private.found_events(uuid, text, jsonb, text, integer, uuid[]) to authenticated;

create function private.search_learning_events(
  p_student_id uuid, p_query text, p_embedding jsonb, p_model text, p_types public.learning_event_type[], p_limit integer
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
-- The student first, as the caller: nothing of anybody else is ranked, so no rank can tell of it.
return private.found_events(p_student_id, p_query, p_embedding, p_model, p_limit, array(
  select e.id from public.learning_events e
   where e.student_user_id = p_student_id and (p_types is null or e.event_type = any (p_types))));

create function public.search_learning_events(
  p_student_id uuid, p_query text, p_embedding jsonb default null, p_model text default null,
  p_types public.learning_event_type[] default null, p_limit integer default 20
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.search_learning_events(p_student_id, p_query, p_embedding, p_model, p_types, p_limit);
comment on function public.search_learning_events(uuid, text, jsonb, text, public.learning_event_type[], integer) is
  'Searches a student''s record as far as the caller may read it, by words and, with the query''s vector, by meaning; best first. Refuses: 401, 403 not_allowed, 404, 422 invalid.';
grant execute on function
  private.search_learning_events(uuid, text, jsonb, text, public.learning_event_type[], integer),
  public.search_learning_events(uuid, text, jsonb, text, public.learning_event_type[], integer) to authenticated;
