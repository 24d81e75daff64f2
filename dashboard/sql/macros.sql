-- What a metric is, once, as models/gold/qos/noc_windows.sql has it: sums over sums.

-- The middle of a bucket of a histogram, in ms (macros/qos/bucket_middle.sql).
create macro bucket_ms(bucket) as exp((bucket + 0.5) / 20);

-- The quantile of a roll-up of histograms: the middle of the first bucket up to which so many lie.
create macro quantile_ms(bucket, so_far, total, share) as
bucket_ms(min(bucket) filter (where so_far >= share * total));

-- The additive columns of noc_playback, of any rows that were added up, as metrics. Windows is how
-- many windows of five minutes they span.
create macro playback_figures(sums, windows) as [
    {
        'metric': 'concurrent_plays',
        'value': cast(sums.concurrent_plays as double),
        'sample': cast(sums.concurrent_plays as bigint)
    },
    {
        'metric': 'attempts',
        'value': sums.attempts / windows,
        'sample': cast(sums.attempts as bigint)
    },
    {
        'metric': 'start_failure_share',
        'value': sums.start_failures_technical / nullif(sums.attempts, 0),
        'sample': cast(sums.attempts as bigint)
    },
    {
        'metric': 'exit_before_start_share',
        'value': sums.exits_before_start / nullif(sums.attempts, 0),
        'sample': cast(sums.attempts as bigint)
    },
    {
        'metric': 'startup_p50_ms',
        'value': sums.startup_p50_ms,
        'sample': cast(sums.startups as bigint)
    },
    {
        'metric': 'startup_p95_ms',
        'value': sums.startup_p95_ms,
        'sample': cast(sums.startups as bigint)
    },
    {
        'metric': 'startup_p99_ms',
        'value': sums.startup_p99_ms,
        'sample': cast(sums.startups as bigint)
    },
    {
        'metric': 'rebuffering_share',
        'value': sums.stalled_ms
        / nullif(1000 * sums.played_s + sums.stalled_ms + sums.seeking_ms, 0),
        'sample': cast(sums.played_s as bigint)
    },
    {
        'metric': 'playback_failure_share',
        'value': sums.failed_plays / nullif(sums.ended_plays, 0),
        'sample': cast(sums.ended_plays as bigint)
    },
    {
        'metric': 'bitrate_bps',
        'value': sums.played_bits / nullif(sums.rated_s, 0),
        'sample': cast(sums.rated_s as bigint)
    }
];

-- The same of noc_cdn.
create macro cdn_figures(sums, windows) as [
    {'metric': 'requests', 'value': sums.requests / windows},
    {'metric': 'sent_bits_per_second', 'value': 8 * sums.sent_bytes / (300 * windows)},
    {'metric': 'hit_share', 'value': sums.hits / nullif(sums.cacheable_requests, 0)},
    {'metric': 'hit_byte_share', 'value': sums.hit_bytes / nullif(sums.cacheable_bytes, 0)},
    {'metric': 'first_byte_p50_ms', 'value': sums.first_byte_p50_ms},
    {'metric': 'first_byte_p95_ms', 'value': sums.first_byte_p95_ms},
    {'metric': 'first_byte_p99_ms', 'value': sums.first_byte_p99_ms},
    {
        'metric': 'slow_first_byte_share',
        'value': sums.slow_first_bytes / nullif(sums.first_bytes, 0)
    },
    {'metric': 'origin_first_byte_p50_ms', 'value': sums.origin_first_byte_p50_ms},
    {'metric': 'origin_first_byte_p95_ms', 'value': sums.origin_first_byte_p95_ms},
    {'metric': 'origin_first_byte_p99_ms', 'value': sums.origin_first_byte_p99_ms},
    {
        'metric': 'cdn_error_share',
        'value': (sums.origin_errors + sums.edge_errors)
        / nullif(sums.requests - sums.client_aborts, 0)
    },
    {
        'metric': 'origin_error_share',
        'value': sums.origin_errors / nullif(sums.requests - sums.client_aborts, 0)
    },
    {
        'metric': 'edge_error_share',
        'value': sums.edge_errors / nullif(sums.requests - sums.client_aborts, 0)
    },
    {'metric': 'response_4xx_share', 'value': sums.responses_4xx / nullif(sums.requests, 0)},
    {'metric': 'response_5xx_share', 'value': sums.responses_5xx / nullif(sums.requests, 0)},
    {'metric': 'client_abort_share', 'value': sums.client_aborts / nullif(sums.requests, 0)}
];

-- Judgements of windows as alerts that were pending, firing or resolved in the interval: what
-- macros/alerts/alerts_of.sql makes of them, but for suppressed_by. Takes the names of the tables
-- of judgements and of rules.
create macro alerts_in(judgements, rules) as table (
    with

    chosen_judgements as (

        select *
        from query_table(judgements)
        where
            window_start >= getvariable('from_minute') - interval 1 day
            and window_start < getvariable('to_minute')

    ),

    breaches as (

        select
            window_start,
            rule,
            unnest(breaches, recursive := true)
        from chosen_judgements
        where window_start + interval 5 minutes <= getvariable('to_minute')

    ),

    breaches_of_rules as (

        select
            breaches.*,
            alert_rules.metric,
            alert_rules.cohort_kind,
            alert_rules.direction,
            alert_rules.fire_after,
            alert_rules.clear_after,
            alert_rules.severity,
            alert_rules.layer,
            alert_rules.meaning,
            date_diff(
                'minute', lag(breaches.window_start) over of_cohort, breaches.window_start
            ) as minutes_since_previous
        from breaches
        inner join query_table(rules) as alert_rules on breaches.rule = alert_rules.rule
        window of_cohort as (
            partition by breaches.rule, breaches.cohort order by breaches.window_start
        )

    ),

    breaches_in_alert as (

        select
            *,
            count_if(coalesce(minutes_since_previous > clear_after, true)) over so_far
                as alert_number,
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
            rule, cohort_kind, cohort, metric, severity, layer, meaning, clear_after,
            alert_number

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

    )

    select * from alerts
);
