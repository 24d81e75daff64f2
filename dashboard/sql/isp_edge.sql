-- One row per ISP and edge: the chosen metric over the interval.
with

minutes as (

    select
        minute,
        isp,
        edge,
        sum(sessions) as sessions,
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
        greatest(
            sum(concurrent_plays[1]), sum(concurrent_plays[2]), sum(concurrent_plays[3]),
            sum(concurrent_plays[4]), sum(concurrent_plays[5]), sum(concurrent_plays[6])
        ) as concurrent_plays
    from chosen_playback
    group by minute, isp, edge

),

startup_buckets as (

    select
        isp,
        edge,
        bucket,
        sum("count") as startups
    from chosen_startups
    group by isp, edge, bucket

),

startup_buckets_so_far as (

    select
        *,
        sum(startups) over (partition by isp, edge order by bucket) as so_far,
        sum(startups) over (partition by isp, edge) as total
    from startup_buckets

),

startup_quantiles as (

    select
        isp,
        edge,
        quantile_ms(bucket, so_far, total, 0.5) as startup_p50_ms,
        quantile_ms(bucket, so_far, total, 0.95) as startup_p95_ms,
        quantile_ms(bucket, so_far, total, 0.99) as startup_p99_ms
    from startup_buckets_so_far
    group by isp, edge

),

sums as (

    select
        isp,
        edge,
        -- of viewers that stay, a session counts in each minute
        sum(sessions) as session_minutes,
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
    group by isp, edge

),

places as (

    select *
    from sums
    left outer join startup_quantiles using (isp, edge)

),

figures as (

    select
        isp,
        edge,
        session_minutes,
        unnest(
            playback_figures(places, getvariable('windows')), recursive := true
        )
    from places

),

isp_edge as (

    select
        isp,
        edge,
        session_minutes,
        value,
        sample
    from figures
    where metric = getvariable('metric')

)

select *
from isp_edge
order by session_minutes desc, isp, edge
