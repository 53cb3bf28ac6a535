-- 26. Briefs and summaries
--
-- What a tutor reads before a lesson, and what the family reads after it. Python writes both, with a language model or
-- by rules; what may go into them, who may read them and what becomes of them is decided here.
--
--   brief     read what there is (brief_inputs) → keep what was made of it (store_brief), for one lesson and one reader
--   summary   summary_inputs → draft (store_summary_draft, update_summary) → approved (approve_summary)
--
-- A brief rests on events that its reader may read, and every statement of it names some: one that names any other is
-- refused before anybody reads it. Because an admin may read more than a tutor does, nobody is shown a brief that was
-- made for somebody else. A summary goes to the student: it is made of what tutor and student both may read, never of
-- private remarks, and is seen by the student once it is approved. Sending it to the family is left to the messages.

-- Briefs ---------------------------------------------------------------------------------------------

create type public.writer as enum ('model', 'rules');
comment on type public.writer is 'Who put something into words: a language model, or rules.';

create table public.briefs (
  session_id uuid not null references public.sessions (id),
  made_for_user_id uuid not null references public.profiles (id),
  source public.writer not null,
  model text,
  challenges jsonb not null,
  motivators jsonb not null,
  recommended_activities jsonb not null,
  session_focus jsonb not null,
  based_on timestamptz,
  fingerprint text not null,
  made_at timestamptz not null default private.now(),
  primary key (session_id, made_for_user_id),
  constraint briefs_model_has_a_name check ((source = 'model') = (model is not null) and private.is_line(model, 120))
);
comment on table public.briefs is 'What a tutor or an admin is told before a lesson; each statement names the learning events it rests on.';
comment on column public.briefs.made_for_user_id is 'Whose brief it is: it rests on what they may read.';
comment on column public.briefs.source is 'Who wrote it.';
comment on column public.briefs.model is 'Which model wrote it; empty when rules did.';
comment on column public.briefs.challenges is 'What is hard for the student now: [{"text", "event_ids"}].';
comment on column public.briefs.motivators is 'What went well: [{"text", "event_ids"}].';
comment on column public.briefs.recommended_activities is 'What to do in the lesson or after it: [{"text", "event_ids"}].';
comment on column public.briefs.session_focus is 'Where to begin: [{"text", "event_ids"}].';
comment on column public.briefs.based_on is 'When the newest event happened that it could rest on.';
comment on column public.briefs.fingerprint is 'Of the lesson''s time and all events it could rest on; when that is another, the brief is out of date.';
comment on column public.briefs.made_at is 'When it was made.';
comment on constraint briefs_model_has_a_name on public.briefs is 'model names the model that wrote it, in one line; rules have none.';
create index briefs_made_for on public.briefs (made_for_user_id);
alter table public.briefs enable row level security;
grant select on public.briefs to authenticated, service_role;
create policy "People read the briefs that were made for them, admins all" on public.briefs
  for select to authenticated
  using (made_for_user_id = (select private.caller_id()) or (select private.is_admin()));

create function private.prep_refusal(p_session public.sessions, p_caller_id uuid) returns jsonb
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
begin
  return case
    when coalesce(private.capacity_in(p_session, p_caller_id), 'student') not in ('tutor', 'admin') then
      private.refusal(403, 'not_allowed', 'Only its tutor or an admin may do this.')
    when p_session.status not in ('scheduled', 'in_progress', 'rescheduled') then
      private.refusal(409, 'illegal_transition', format('There is nothing to prepare: the session is %s.', p_session.status),
                      jsonb_build_object('from', p_session.status)) end;
end;
$$;
comment on function private.prep_refusal(public.sessions, uuid) is
  'Why the caller cannot have a brief for the session, or null: its tutor and admins may, while it is to take place.';

create function private.session_for(p_session_id uuid, p_caller_id uuid) returns public.sessions
language plpgsql stable
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_session public.sessions;
begin
  select * into v_session from public.sessions
   where id = p_session_id
     and (p_caller_id in (tutor_user_id, student_user_id) or private.has_role(p_caller_id, 'admin'));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such session.');
  end if;
  return v_session;
end;
$$;
comment on function private.session_for(uuid, uuid) is 'A session of the caller''s (any, for admins). Refuses: 404.';

create function private.events_for_brief(p_session_id uuid) returns uuid[]
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return array(
  select e.id from public.learning_events e
   where e.student_user_id = (select s.student_user_id from public.sessions s where s.id = p_session_id)
     and (not e.is_private or e.author_user_id = (select private.caller_id()))
   order by e.occurred_at desc, e.id desc);
comment on function private.events_for_brief(uuid) is
  'Picked as the caller, newest first: the record of the session''s student, without what others remarked in private.';
grant execute on function private.events_for_brief(uuid) to authenticated;

create function private.brief_fingerprint(p_session public.sessions, p_ids uuid[]) returns text
language sql stable
set search_path = '' set timezone = 'UTC'
return private.fingerprint_of(jsonb_build_object(
  'starts', extract(epoch from p_session.scheduled_start_utc), 'events', to_jsonb(p_ids)));

create function private.brief_document(p_brief public.briefs) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'session_id', p_brief.session_id, 'source', p_brief.source, 'model', p_brief.model,
  'challenges', p_brief.challenges, 'motivators', p_brief.motivators,
  'recommended_activities', p_brief.recommended_activities, 'session_focus', p_brief.session_focus,
  'based_on', p_brief.based_on, 'made_at', p_brief.made_at);

create function private.brief_from(
  p_session_id uuid, p_query text, p_embedding jsonb, p_model text, p_ids uuid[]
) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_session public.sessions := private.session_for(p_session_id, v_caller_id);
  v_document jsonb;
  v_query text;
  v_vector extensions.vector;
  v_space text;
  v_brief public.briefs;
begin
  perform private.refuse_if(private.prep_refusal(v_session, v_caller_id));
  v_document := private.session_documents(array[p_session_id], v_caller_id) -> 0;
  if p_embedding is not null then
    v_vector := private.as_vector(p_embedding, 'embedding');
    v_space := private.embedding_space(p_model, extensions.vector_dims(v_vector));
  end if;
  v_query := coalesce(private.clean_text(p_query, 500, 'query'), v_document ->> 'subject', '');
  select * into v_brief from public.briefs where session_id = p_session_id and made_for_user_id = v_caller_id;
  return jsonb_build_object(
    'session', v_document,
    'student', v_document -> 'student',
    'events', (
      -- The best for the question, and the newest whatever they say.
      with picked as (
        select found.id, 0 as place, found.number
          from (select r.event_id as id, row_number() over (order by r.score desc) as number
                  from private.ranked_events(p_ids, v_query, v_space, v_vector, 20) as r) as found
        union all
        select newest.id, 1, newest.number from unnest(p_ids[1:40]) with ordinality as newest (id, number)
      ), chosen as (
        select id from picked group by id order by min(place), min(number) limit 40
      )
      select coalesce(jsonb_agg(private.learning_event_document(e) order by e.occurred_at desc, e.id desc), '[]')
        from chosen join public.learning_events e using (id)),
    'brief', case when v_brief.session_id is not null then private.brief_document(v_brief) end,
    'is_fresh', coalesce(v_brief.fingerprint = private.brief_fingerprint(v_session, p_ids), false),
    'fingerprint', private.brief_fingerprint(v_session, p_ids),
    'model_allowed', private.model_calls_left(),
    'language', (select private.language_for(language) from public.accounts where profile_id = v_caller_id),
    'viewer_timezone', (select timezone from public.profiles where id = v_caller_id));
end;
$$;
comment on function private.brief_from(uuid, text, jsonb, text, uuid[]) is
  'What a brief is made of, from the events that were picked as the caller; not reached but through brief_inputs.';
grant execute on function private.brief_from(uuid, text, jsonb, text, uuid[]) to authenticated;

create function private.brief_inputs(p_session_id uuid, p_query text, p_embedding jsonb, p_model text) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.brief_from(p_session_id, p_query, p_embedding, p_model, private.events_for_brief(p_session_id));

create function public.brief_inputs(
  p_session_id uuid, p_query text default null, p_embedding jsonb default null, p_model text default null
) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.brief_inputs(p_session_id, p_query, p_embedding, p_model);
comment on function public.brief_inputs(uuid, text, jsonb, text) is
  'Before a session its tutor or an admin reads what a brief is made of: at most 40 events of its student that they may read, the best for the query (its subject, if none is given) and the newest; and the brief they had, if it is still up to date. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, 422 invalid.';
grant execute on function
  private.brief_inputs(uuid, text, jsonb, text), public.brief_inputs(uuid, text, jsonb, text) to authenticated;

create function private.is_statement(p_statement jsonb) returns boolean
language plpgsql immutable
set search_path = '' set timezone = 'UTC'
as $$
begin
  return jsonb_typeof(p_statement) = 'object'
     and (select array_agg(key order by key) from jsonb_object_keys(p_statement) as key) = array['event_ids', 'text']
     and jsonb_typeof(p_statement -> 'text') = 'string'
     and char_length(btrim(p_statement ->> 'text')) between 1 and 400
     and jsonb_typeof(p_statement -> 'event_ids') = 'array'
     and jsonb_array_length(p_statement -> 'event_ids') between 1 and 40
     and not exists (
       select from jsonb_array_elements(p_statement -> 'event_ids') as id
        where jsonb_typeof(id) <> 'string'
           or id #>> '{}' !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$');
end;
$$;
comment on function private.is_statement(jsonb) is
  'Whether a document is {"text": 1 to 400 characters, "event_ids": 1 to 40 ids}.';

create function private.is_brief(p_brief jsonb) returns boolean
language plpgsql immutable
set search_path = '' set timezone = 'UTC'
as $$
begin
  if jsonb_typeof(p_brief) is distinct from 'object'
     or (select array_agg(key order by key) from jsonb_object_keys(p_brief) as key)
        is distinct from array['challenges', 'motivators', 'recommended_activities', 'session_focus']
     or exists (select from jsonb_each(p_brief) as list where jsonb_typeof(list.value) <> 'array') then
    return false;
  end if;
  return not exists (
    select from jsonb_each(p_brief) as list
     where jsonb_array_length(list.value) > 8
        or exists (select from jsonb_array_elements(list.value) as said where private.is_statement(said) is not true));
end;
$$;
comment on function private.is_brief(jsonb) is
  'Whether a document is the four lists of a brief, of at most eight statements each.';

create function private.keep_brief(
  p_session_id uuid, p_fingerprint text, p_source public.writer, p_model text, p_brief jsonb, p_ids uuid[]
) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_session public.sessions := private.session_for(p_session_id, v_caller_id);
  v_unknown jsonb;
  v_brief public.briefs;
  v_violated text;
begin
  perform private.refuse_if(private.prep_refusal(v_session, v_caller_id));
  if p_source is null then
    perform private.refuse(422, 'invalid', 'source is model or rules.', jsonb_build_object('field', 'source'));
  end if;
  if p_fingerprint is null or p_fingerprint !~ '^[0-9a-f]{1,128}$' then
    perform private.refuse(422, 'invalid', 'fingerprint is that of brief_inputs.', jsonb_build_object('field', 'fingerprint'));
  end if;
  if not private.is_brief(p_brief) then
    perform private.refuse(422, 'invalid',
      'A brief has four lists of at most 8 statements, each with a text of 1 to 400 characters and the events it rests on.',
      jsonb_build_object('field', 'brief'));
  end if;
  select jsonb_agg(distinct id) into v_unknown
    from jsonb_each(p_brief) as list, jsonb_array_elements(list.value) as said,
         jsonb_array_elements_text(said -> 'event_ids') as id
   where id::uuid <> all (p_ids);
  if v_unknown is not null then
    perform private.refuse(422, 'unknown_events', 'A statement names events that are not of this student or that you may not read.',
                           jsonb_build_object('event_ids', v_unknown));
  end if;
  insert into public.briefs (session_id, made_for_user_id, source, model, challenges, motivators, recommended_activities,
                             session_focus, based_on, fingerprint, made_at)
  values (p_session_id, v_caller_id, p_source, p_model, p_brief -> 'challenges', p_brief -> 'motivators',
          p_brief -> 'recommended_activities', p_brief -> 'session_focus',
          (select max(occurred_at) from public.learning_events where id = any (p_ids)), p_fingerprint, private.now())
  on conflict (session_id, made_for_user_id) do update
    set source = excluded.source, model = excluded.model, challenges = excluded.challenges, motivators = excluded.motivators,
        recommended_activities = excluded.recommended_activities, session_focus = excluded.session_focus,
        based_on = excluded.based_on, fingerprint = excluded.fingerprint, made_at = excluded.made_at
  returning * into v_brief;
  return jsonb_build_object('brief', private.brief_document(v_brief));
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;
comment on function private.keep_brief(uuid, text, public.writer, text, jsonb, uuid[]) is
  'Keeps a brief that rests on events that were picked as the caller; not reached but through store_brief.';
grant execute on function private.keep_brief(uuid, text, public.writer, text, jsonb, uuid[]) to authenticated;

create function private.store_brief(
  p_session_id uuid, p_fingerprint text, p_source public.writer, p_model text, p_brief jsonb
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.keep_brief(p_session_id, p_fingerprint, p_source, p_model, p_brief, private.events_for_brief(p_session_id));

create function public.store_brief(
  p_session_id uuid, p_fingerprint text, p_source public.writer, p_model text default null, p_brief jsonb default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.store_brief(p_session_id, p_fingerprint, p_source, p_model, p_brief);
comment on function public.store_brief(uuid, text, public.writer, text, jsonb) is
  'Keeps the brief that was made for the caller, with the fingerprint of brief_inputs; each statement names events of the student that the caller may read. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, 422 unknown_events, invalid.';
grant execute on function
  private.store_brief(uuid, text, public.writer, text, jsonb), public.store_brief(uuid, text, public.writer, text, jsonb) to authenticated;

-- Summaries ------------------------------------------------------------------------------------------

create type public.summary_status as enum ('draft', 'approved');
comment on type public.summary_status is 'Where a summary is: being written, or for the family to read.';

create table public.session_summaries (
  session_id uuid primary key references public.sessions (id),
  student_user_id uuid not null references public.profiles (id),
  tutor_user_id uuid not null references public.profiles (id),
  text text not null,
  source public.writer not null,
  model text,
  status public.summary_status not null default 'draft',
  written_by_user_id uuid references public.profiles (id),
  approved_by_user_id uuid references public.profiles (id),
  approved_at timestamptz,
  version integer not null default 1,
  created_at timestamptz not null default private.now(),
  updated_at timestamptz not null default private.now(),
  constraint session_summaries_text_is_bounded check (char_length(text) between 1 and 4000),
  constraint session_summaries_model_has_a_name check ((source = 'model') = (model is not null) and private.is_line(model, 120)),
  constraint session_summaries_approved_when check ((status = 'approved') = (approved_at is not null))
);
comment on table public.session_summaries is 'What a lesson was about, in words for the family; approved by a person before anybody else reads it.';
comment on column public.session_summaries.text is 'The summary.';
comment on column public.session_summaries.source is 'Who wrote the first draft.';
comment on column public.session_summaries.model is 'Which model wrote it; empty when rules did.';
comment on column public.session_summaries.written_by_user_id is 'Who asked for the draft or changed it last.';
comment on column public.session_summaries.approved_at is 'When it was approved; it stays as it is since.';
comment on column public.session_summaries.version is 'Grows with every change; send it back as expected_version.';
comment on constraint session_summaries_text_is_bounded on public.session_summaries is 'A summary has 1 to 4000 characters.';
comment on constraint session_summaries_model_has_a_name on public.session_summaries is 'model names the model that wrote it, in one line; rules have none.';
create index session_summaries_student on public.session_summaries (student_user_id);
create index session_summaries_tutor on public.session_summaries (tutor_user_id);
create index session_summaries_written_by on public.session_summaries (written_by_user_id);
create index session_summaries_approved_by on public.session_summaries (approved_by_user_id);
create trigger session_summaries_touch before update on public.session_summaries
  for each row execute function private.touch();
alter table public.session_summaries enable row level security;
grant select on public.session_summaries to authenticated, service_role;
create policy "Tutors read their summaries, students approved ones, admins all" on public.session_summaries
  for select to authenticated
  using ((student_user_id = (select private.caller_id()) and status = 'approved')
         or tutor_user_id = (select private.caller_id())
         or (select private.is_admin()));

insert into private.event_types (name, description) values
  ('session.summarized', 'A summary of a lesson was approved for the family to read; "text" is its words.');
insert into private.notices (event_type, reader, template) values
  ('session.summarized', 'student',  'P21_session_summary'),
  ('session.summarized', 'guardian', 'P21_session_summary');

create function private.summary_document(p_summary public.session_summaries) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
return jsonb_build_object(
  'session_id', p_summary.session_id, 'student_id', p_summary.student_user_id, 'tutor_id', p_summary.tutor_user_id,
  'text', p_summary.text, 'source', p_summary.source, 'model', p_summary.model, 'status', p_summary.status,
  'approved_at', p_summary.approved_at, 'version', p_summary.version,
  'created_at', p_summary.created_at, 'updated_at', p_summary.updated_at);

create function private.summary_answer(p_session_id uuid, p_changed boolean) returns jsonb
language sql stable
set search_path = '' set timezone = 'UTC'
as $$
  select jsonb_build_object('summary', private.summary_document(s), 'changed', p_changed)
    from public.session_summaries s where s.session_id = p_session_id
$$;

create function private.session_to_summarize(p_session_id uuid, p_caller_id uuid) returns public.sessions
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_session public.sessions := private.session_for(p_session_id, p_caller_id);
begin
  if coalesce(private.capacity_in(v_session, p_caller_id), 'student') not in ('tutor', 'admin') then
    perform private.refuse(403, 'not_allowed', 'Only its tutor or an admin may do this.');
  end if;
  if v_session.status <> 'done' then
    perform private.refuse(409, 'illegal_transition', format('There is nothing to summarize: the session is %s.', v_session.status),
                           jsonb_build_object('from', v_session.status));
  end if;
  return v_session;
end;
$$;
comment on function private.session_to_summarize(uuid, uuid) is
  'A session that is done and that the caller taught, or any, for admins. Refuses: 404, 403 not_allowed, 409 illegal_transition.';

create function private.summary_inputs(p_session_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_session public.sessions := private.session_to_summarize(p_session_id, v_caller_id);
  v_document jsonb := private.session_documents(array[p_session_id], v_caller_id) -> 0;
begin
  return jsonb_build_object(
    'session', v_document,
    'student', v_document -> 'student',
    -- What both tutor and student may read: of the lesson, or recorded without one on its day.
    'events', (
      select coalesce(jsonb_agg(private.learning_event_document(e) order by e.occurred_at desc, e.id desc), '[]')
        from (select * from public.learning_events
               where student_user_id = v_session.student_user_id and tutor_user_id = v_session.tutor_user_id and not is_private
                 and (session_id = p_session_id
                      or (session_id is null and occurred_at >= v_session.scheduled_start_utc
                          and occurred_at < v_session.scheduled_end_utc + interval '1 day'))
               order by occurred_at desc, id desc limit 40) as e),
    'summary', private.summary_answer(p_session_id, false) -> 'summary',
    'language', (select private.language_for(language) from public.accounts where profile_id = v_session.student_user_id),
    'model_allowed', private.model_calls_left(),
    'viewer_timezone', (select timezone from public.profiles where id = v_caller_id));
end;
$$;

create function public.summary_inputs(p_session_id uuid) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.summary_inputs(p_session_id);
comment on function public.summary_inputs(uuid) is
  'Of a session that is done, its tutor or an admin reads what a summary is made of: what was recorded of it for tutor and student both. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition.';
grant execute on function private.summary_inputs(uuid), public.summary_inputs(uuid) to authenticated;

create function private.store_summary_draft(p_session_id uuid, p_source public.writer, p_model text, p_text text) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_session public.sessions := private.session_to_summarize(p_session_id, v_caller_id);
  v_text text := private.clean_text(p_text, 4000, 'text', true);
  v_violated text;
begin
  if p_source is null then
    perform private.refuse(422, 'invalid', 'source is model or rules.', jsonb_build_object('field', 'source'));
  end if;
  insert into public.session_summaries as s (session_id, student_user_id, tutor_user_id, text, source, model, written_by_user_id)
  values (p_session_id, v_session.student_user_id, v_session.tutor_user_id, v_text, p_source, p_model, v_caller_id)
  on conflict (session_id) do update
    set text = excluded.text, source = excluded.source, model = excluded.model,
        written_by_user_id = excluded.written_by_user_id, version = s.version + 1
    where s.status = 'draft';
  if not found then
    perform private.refuse(409, 'illegal_transition', 'The summary has been approved and stays as it is.',
                           jsonb_build_object('from', 'approved', 'to', 'draft'));
  end if;
  perform private.record_audit('summary_drafted', 'session', p_session_id, jsonb_build_object('source', p_source));
  return private.summary_answer(p_session_id, true);
exception when check_violation then
  get stacked diagnostics v_violated = constraint_name;
  perform private.refuse_violation(v_violated);
end;
$$;

create function public.store_summary_draft(
  p_session_id uuid, p_source public.writer, p_model text default null, p_text text default null
) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.store_summary_draft(p_session_id, p_source, p_model, p_text);
comment on function public.store_summary_draft(uuid, public.writer, text, text) is
  'Keeps a draft that was written for a session of the caller''s that is done, in the place of the draft before. Refuses: 401, 403 not_allowed, 404, 409 illegal_transition, 422 invalid.';
grant execute on function
  private.store_summary_draft(uuid, public.writer, text, text), public.store_summary_draft(uuid, public.writer, text, text) to authenticated;

create function private.lock_summary(p_session_id uuid, p_expected_version integer) returns public.session_summaries
language plpgsql
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_summary public.session_summaries;
begin
  select * into v_summary from public.session_summaries where session_id = p_session_id for update;
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such summary.');
  end if;
  if v_summary.status = 'draft' and p_expected_version <> v_summary.version then
    perform private.refuse(409, 'stale_version', 'The summary has changed since you read it.',
                           jsonb_build_object('version', v_summary.version));
  end if;
  return v_summary;
end;
$$;
comment on function private.lock_summary(uuid, integer) is 'A summary, locked. Refuses: 404, 409 stale_version for a draft of another version.';

create function private.update_summary(p_session_id uuid, p_text text, p_expected_version integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_session public.sessions := private.session_to_summarize(p_session_id, v_caller_id);
  v_summary public.session_summaries := private.lock_summary(p_session_id, p_expected_version);
  v_text text := private.clean_text(p_text, 4000, 'text', true);
begin
  if v_summary.text = v_text then
    return private.summary_answer(p_session_id, false);
  end if;
  if v_summary.status = 'approved' then
    perform private.refuse(409, 'illegal_transition', 'The summary has been approved and stays as it is.',
                           jsonb_build_object('from', 'approved', 'to', 'draft'));
  end if;
  update public.session_summaries set text = v_text, written_by_user_id = v_caller_id, version = version + 1
   where session_id = p_session_id;
  perform private.record_audit('summary_updated', 'session', p_session_id);
  return private.summary_answer(p_session_id, true);
end;
$$;

create function public.update_summary(p_session_id uuid, p_text text, p_expected_version integer default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.update_summary(p_session_id, p_text, p_expected_version);
comment on function public.update_summary(uuid, text, integer) is
  'The session''s tutor or an admin changes a draft. Refuses: 401, 403 not_allowed, 404, 409 stale_version, illegal_transition, 422 invalid.';
grant execute on function private.update_summary(uuid, text, integer), public.update_summary(uuid, text, integer) to authenticated;

create function private.approve_summary(p_session_id uuid, p_expected_version integer) returns jsonb
language plpgsql security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_session public.sessions := private.session_to_summarize(p_session_id, v_caller_id);
  v_summary public.session_summaries;
begin
  -- An event of the session is written: its row is held first, and may have changed while we waited.
  perform from public.sessions where id = p_session_id for update;
  v_session := private.session_to_summarize(p_session_id, v_caller_id);
  v_summary := private.lock_summary(p_session_id, p_expected_version);
  if v_summary.status = 'approved' then
    return private.summary_answer(p_session_id, false);
  end if;
  update public.session_summaries
     set status = 'approved', approved_by_user_id = v_caller_id, approved_at = private.now(), version = version + 1
   where session_id = p_session_id;
  perform private.learn('session', v_session.student_user_id, v_session.tutor_user_id, p_session_id,
                        jsonb_build_object('text', v_summary.text), private.now());
  perform private.record_audit('summary_approved', 'session', p_session_id);
  perform private.record_event('session.summarized', 'session', p_session_id,
    jsonb_build_object('session_id', p_session_id, 'tutor_id', v_session.tutor_user_id, 'student_id', v_session.student_user_id,
                       'text', v_summary.text), private.now());
  return private.summary_answer(p_session_id, true);
end;
$$;

create function public.approve_summary(p_session_id uuid, p_expected_version integer default null) returns jsonb
language sql volatile security invoker
set search_path = '' set timezone = 'UTC'
return private.approve_summary(p_session_id, p_expected_version);
comment on function public.approve_summary(uuid, integer) is
  'The session''s tutor or an admin approves a summary: its student and family may read it, and it stays as it is. Once more changes nothing. Refuses: 401, 403 not_allowed, 404, 409 stale_version, illegal_transition.';
grant execute on function private.approve_summary(uuid, integer), public.approve_summary(uuid, integer) to authenticated;

create function private.get_summary(p_session_id uuid) returns jsonb
language plpgsql stable security definer
set search_path = '' set timezone = 'UTC'
as $$
declare
  v_caller_id uuid := private.require_caller();
  v_session public.sessions := private.session_for(p_session_id, v_caller_id);
begin
  perform from public.session_summaries
    where session_id = p_session_id
      and (status = 'approved' or tutor_user_id = v_caller_id or private.has_role(v_caller_id, 'admin'));
  if not found then
    perform private.refuse(404, 'not_found', 'There is no such summary.');
  end if;
  return private.summary_answer(p_session_id, false) - 'changed';
end;
$$;

create function public.get_summary(p_session_id uuid) returns jsonb
language sql stable security invoker
set search_path = '' set timezone = 'UTC'
return private.get_summary(p_session_id);
comment on function public.get_summary(uuid) is
  'The summary of a session of the caller''s (any, for admins); for its student once it is approved. Refuses: 401, 403 not_allowed, 404.';
grant execute on function private.get_summary(uuid), public.get_summary(uuid) to authenticated;
