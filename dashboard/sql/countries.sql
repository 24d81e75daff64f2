-- One row per country: the chosen metric over the interval.
with

minutes as (

    select
        minute,
        country,
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
    group by minute, country

),

startup_buckets as (

    select
        country,
        bucket,
        sum("count") as startups
    from chosen_startups
    group by country, bucket

),

startup_buckets_so_far as (

    select
        *,
        sum(startups) over (partition by country order by bucket) as so_far,
        sum(startups) over (partition by country) as total
    from startup_buckets

),

startup_quantiles as (

    select
        country,
        quantile_ms(bucket, so_far, total, 0.5) as startup_p50_ms,
        quantile_ms(bucket, so_far, total, 0.95) as startup_p95_ms,
        quantile_ms(bucket, so_far, total, 0.99) as startup_p99_ms
    from startup_buckets_so_far
    group by country

),

sums as (

    select
        country,
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
    group by country

),

places as (

    select *
    from sums
    left outer join startup_quantiles using (country)

),

figures as (

    select
        country,
        session_minutes,
        unnest(
            playback_figures(places, getvariable('windows')), recursive := true
        )
    from places

),

countries as (

    select
        country,
        session_minutes,
        value,
        sample
    from figures
    where metric = getvariable('metric')

)

select *
from countries
order by session_minutes desc, country
