-- One row per alert that was pending, firing or resolved in the interval: gold.alerts, which is a
-- view that Spark alone can read, but for its column suppressed_by.
with

judgements as (

    select *
    from gold.alert_judgements
    where
        window_start >= getvariable('from_minute') - interval 1 day
        and window_start < getvariable('to_minute')

),

breaches as (

    select
        judgements.window_start,
        judgements.rule,
        unnest(judgements.breaches, recursive := true)
    from judgements
    where judgements.window_start + interval 5 minutes <= getvariable('to_minute')

),

breaches_of_rules as (

    select
        breaches.*,
        rules.metric,
        rules.cohort_kind,
        rules.direction,
        rules.fire_after,
        rules.clear_after,
        rules.severity,
        rules.layer,
        rules.meaning,
        date_diff(
            'minute', lag(breaches.window_start) over of_cohort, breaches.window_start
        ) as minutes_since_previous
    from breaches
    inner join ops.alert_rules as rules on breaches.rule = rules.rule
    window of_cohort as (
        partition by breaches.rule, breaches.cohort order by breaches.window_start
    )

),

breaches_in_alert as (

    select
        *,
        count_if(coalesce(minutes_since_previous > clear_after, true)) over so_far as alert_number,
        count_if(coalesce(minutes_since_previous > 1, true)) over so_far as run_number
    from breaches_of_rules
    window so_far as (
        partition by rule, cohort order by window_start
        rows between unbounded preceding and current row
    )

),

breaches_in_run as (

    select
        *,
        row_number() over (
            partition by rule, cohort, run_number order by window_start
        ) as place_in_run
    from breaches_in_alert

),

episodes as (

    select
        rule,
        cohort_kind,
        cohort,
        metric,
        severity,
        layer,
        meaning,
        clear_after,
        min(window_start) as started_at,
        min(window_start) filter (where place_in_run >= fire_after)
        + interval 5 minutes as fired_at,
        max(window_start) + to_minutes(5 + clear_after) as cleared_at,
        max_by(value, window_start) as last_value,
        max_by(usual, window_start) as last_usual,
        max(impacted) as impacted
    from breaches_in_run
    group by
        rule, cohort_kind, cohort, metric, severity, layer, meaning, clear_after, alert_number

),

alerts as (

    select
        rule,
        cohort_kind,
        cohort,
        metric,
        severity,
        layer,
        meaning,
        case
            when fired_at is null then 'pending'
            when cleared_at > getvariable('to_minute') then 'firing'
            else 'resolved'
        end as state,
        started_at,
        fired_at,
        case when cleared_at <= getvariable('to_minute') then cleared_at end as ended_at,
        last_value,
        last_usual,
        impacted
    from episodes
    where
        cleared_at > getvariable('from_minute')
        -- a rule that was broken for a moment, and is not any more, is no news
        and (fired_at is not null or cleared_at > getvariable('to_minute'))
        and (
            getvariable('cohort_kind') = 'all'
            or cohort_kind = 'all'
            or (cohort_kind = getvariable('cohort_kind') and cohort = getvariable('cohort'))
        )

)

select *
from alerts
order by state, severity, impacted desc nulls last, started_at, rule, cohort
limit 200
