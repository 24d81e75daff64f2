-- One row per five minutes, end to end up to the end of the interval, and metric of playback: its
-- value, and what is usual then for the chosen cohort.
with

minutes as (

    select
        minute,
        sum(attempts) as attempts,
        sum(start_failures_technical) as start_failures_technical,
        sum(exits_before_start) as exits_before_start,
        sum(startups) as startups,
        sum(ended_plays) as ended_plays,
        sum(failed_plays) as failed_plays,
        sum(played_s) as played_s,
        sum(played_bits) as played_bits,
        sum(rated_s) as rated_s,
        sum(stalled_ms) as stalled_ms,
        sum(seeking_ms) as seeking_ms,
        -- plays of several cells at one moment add up, those of several moments do not
        greatest(
            sum(concurrent_plays[1]), sum(concurrent_plays[2]), sum(concurrent_plays[3]),
            sum(concurrent_plays[4]), sum(concurrent_plays[5]), sum(concurrent_plays[6])
        ) as concurrent_plays
    from chosen_playback
    group by minute

),

startup_buckets as (

    select
        time_bucket(interval 5 minutes, minute, getvariable('to_minute')) as window_start,
        bucket,
        sum("count") as startups
    from chosen_startups
    group by window_start, bucket

),

startup_buckets_so_far as (

    select
        *,
        sum(startups) over (partition by window_start order by bucket) as so_far,
        sum(startups) over (partition by window_start) as total
    from startup_buckets

),

startup_quantiles as (

    select
        window_start,
        quantile_ms(bucket, so_far, total, 0.5) as startup_p50_ms,
        quantile_ms(bucket, so_far, total, 0.95) as startup_p95_ms,
        quantile_ms(bucket, so_far, total, 0.99) as startup_p99_ms
    from startup_buckets_so_far
    group by window_start

),

sums as (

    select
        time_bucket(interval 5 minutes, minute, getvariable('to_minute')) as window_start,
        sum(attempts) as attempts,
        sum(start_failures_technical) as start_failures_technical,
        sum(exits_before_start) as exits_before_start,
        sum(startups) as startups,
        sum(ended_plays) as ended_plays,
        sum(failed_plays) as failed_plays,
        sum(played_s) as played_s,
        sum(played_bits) as played_bits,
        sum(rated_s) as rated_s,
        sum(stalled_ms) as stalled_ms,
        sum(seeking_ms) as seeking_ms,
        max(concurrent_plays) as concurrent_plays
    from minutes
    group by window_start

),

windows as (

    select *
    from sums
    left outer join startup_quantiles using (window_start)

),

figures as (

    select
        window_start,
        unnest(playback_figures(windows, 1), recursive := true)
    from windows

),

baseline as (

    select
        hour,
        metric,
        baseline,
        deviation
    from gold.noc_baseline
    where
        cohort_kind = getvariable('cohort_kind')
        and cohort = getvariable('cohort')
        and hour >= date_trunc('hour', getvariable('from_minute'))
        and hour < getvariable('to_minute')

),

playback as (

    select
        figures.window_start,
        figures.metric,
        figures.value,
        figures.sample,
        baseline.baseline,
        baseline.deviation
    from figures
    left outer join baseline
        on
            date_trunc('hour', figures.window_start) = baseline.hour
            and figures.metric = baseline.metric
    where figures.value is not null

)

select *
from playback
order by metric, window_start
