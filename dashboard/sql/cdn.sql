-- One row per five minutes, end to end up to the end of the interval, and metric of the CDN: its
-- value, and what is usual then for the chosen cohort.
with

first_byte_entries as (

    select
        minute,
        unnest(first_byte_histogram, recursive := true)
    from chosen_cdn

),

first_byte_buckets as (

    select
        time_bucket(interval 5 minutes, minute, getvariable('to_minute')) as window_start,
        bucket,
        sum("count") as requests
    from first_byte_entries
    group by window_start, bucket

),

first_byte_buckets_so_far as (

    select
        *,
        sum(requests) over (partition by window_start order by bucket) as so_far,
        sum(requests) over (partition by window_start) as total
    from first_byte_buckets

),

first_byte_quantiles as (

    select
        window_start,
        quantile_ms(bucket, so_far, total, 0.5) as first_byte_p50_ms,
        quantile_ms(bucket, so_far, total, 0.95) as first_byte_p95_ms,
        quantile_ms(bucket, so_far, total, 0.99) as first_byte_p99_ms
    from first_byte_buckets_so_far
    group by window_start

),

origin_first_byte_entries as (

    select
        minute,
        unnest(origin_first_byte_histogram, recursive := true)
    from chosen_cdn

),

origin_first_byte_buckets as (

    select
        time_bucket(interval 5 minutes, minute, getvariable('to_minute')) as window_start,
        bucket,
        sum("count") as requests
    from origin_first_byte_entries
    group by window_start, bucket

),

origin_first_byte_buckets_so_far as (

    select
        *,
        sum(requests) over (partition by window_start order by bucket) as so_far,
        sum(requests) over (partition by window_start) as total
    from origin_first_byte_buckets

),

origin_first_byte_quantiles as (

    select
        window_start,
        quantile_ms(bucket, so_far, total, 0.5) as origin_first_byte_p50_ms,
        quantile_ms(bucket, so_far, total, 0.95) as origin_first_byte_p95_ms,
        quantile_ms(bucket, so_far, total, 0.99) as origin_first_byte_p99_ms
    from origin_first_byte_buckets_so_far
    group by window_start

),

sums as (

    select
        time_bucket(interval 5 minutes, minute, getvariable('to_minute')) as window_start,
        sum(requests) as requests,
        sum(sent_bytes) as sent_bytes,
        sum(cacheable_requests) as cacheable_requests,
        sum(hits) as hits,
        sum(cacheable_bytes) as cacheable_bytes,
        sum(hit_bytes) as hit_bytes,
        sum(first_bytes) as first_bytes,
        sum(slow_first_bytes) as slow_first_bytes,
        sum(client_aborts) as client_aborts,
        sum(origin_errors) as origin_errors,
        sum(edge_errors) as edge_errors,
        sum(responses_4xx) as responses_4xx,
        sum(responses_5xx) as responses_5xx
    from chosen_cdn
    group by window_start

),

windows as (

    select *
    from sums
    left outer join first_byte_quantiles using (window_start)
    left outer join origin_first_byte_quantiles using (window_start)

),

figures as (

    select
        window_start,
        unnest(cdn_figures(windows, 1), recursive := true)
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
        cohort_kind = getvariable('cdn_cohort_kind')
        and cohort = getvariable('cdn_cohort')
        and hour >= date_trunc('hour', getvariable('from_minute'))
        and hour < getvariable('to_minute')

),

cdn as (

    select
        figures.window_start,
        figures.metric,
        figures.value,
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
from cdn
order by metric, window_start
