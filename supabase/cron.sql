-- Supabase Cron: the database calls the functions' cron routes, most of them each minute. Optional, and no migration: it is run by hand
-- once the functions are deployed, and again whenever this file has changed. docs/deploy.md tells how.
--
-- It needs the extensions pg_cron, pg_net and Vault; where one is missing (any plain Postgres) it says so and does nothing.
-- The functions' address and the secret stay in Vault, and a job reads them each time it runs: no secret stands in
-- cron.job, and a rotated one holds from the next minute on. Run twice, it schedules nothing twice; what was named
-- lessonkeeper-… and is listed here no more is taken off.

do $$
declare
  v_missing text[];
  v_call constant text := $call$
    select net.http_get(
      url := (
        select rtrim(decrypted_secret, '/') from vault.decrypted_secrets where name = 'lessonkeeper_functions_url'
      ) || %L,
      headers := jsonb_build_object('Authorization', 'Bearer ' || (
        select decrypted_secret from vault.decrypted_secrets where name = 'lessonkeeper_cron_secret'
      )),
      timeout_milliseconds := 60000 -- above CRON_BUDGET_SECONDS: pg_net gives up after a few seconds otherwise
    )
  $call$;
  v_forget constant text := $forget$
    delete from cron.job_run_details where end_time < now() - interval '7 days'
  $forget$;
  v_jobs constant jsonb := jsonb_build_object(
    -- One line for each route under /api/cron.
    'lessonkeeper-complete-sessions', array['* * * * *', format(v_call, '/api/cron/complete-sessions')],
    'lessonkeeper-deliver-outbox', array['* * * * *', format(v_call, '/api/cron/deliver-outbox')],
    'lessonkeeper-embed-events', array['*/5 * * * *', format(v_call, '/api/cron/embed-events')],
    'lessonkeeper-send-reminders', array['* * * * *', format(v_call, '/api/cron/send-reminders')],
    'lessonkeeper-auto-approve-cancellations', array['* * * * *', format(v_call, '/api/cron/auto-approve-cancellations')],
    'lessonkeeper-sync-calendar', array['* * * * *', format(v_call, '/api/cron/sync-calendar')],
    'lessonkeeper-clean-up', array['17 * * * *', format(v_call, '/api/cron/clean-up')],
    -- pg_cron keeps a row of every run for ever: a week is enough. (pg_net forgets its answers by itself.)
    'lessonkeeper-forget-runs', array['30 3 * * *', v_forget]
  );
begin
  select array_agg(extension order by extension)
    into v_missing
    from (values
      ('pg_cron', to_regnamespace('cron')), ('pg_net', to_regnamespace('net')), ('Vault', to_regnamespace('vault'))
    ) as needed (extension, schema)
   where schema is null;
  if v_missing is not null then
    raise notice 'Nothing is scheduled: % missing here.', array_to_string(v_missing, ', ');
    return;
  end if;

  select array_agg(needed.name order by needed.name)
    into v_missing
    from (values ('lessonkeeper_functions_url'), ('lessonkeeper_cron_secret')) as needed (name)
   where not exists (
     select from vault.decrypted_secrets as kept where kept.name = needed.name and kept.decrypted_secret <> ''
   );
  if v_missing is not null then
    raise exception 'Nothing is scheduled: put % into Vault first.', array_to_string(v_missing, ' and ');
  end if;

  perform cron.unschedule(job.jobname)
     from cron.job as job
    where starts_with(job.jobname, 'lessonkeeper-') and not v_jobs ? job.jobname;

  perform cron.schedule(job.key, job.value ->> 0, job.value ->> 1)
     from jsonb_each(v_jobs) as job;
end
$$;
