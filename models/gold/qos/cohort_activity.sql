{#- One row per minute, edge, ISP and kind of device: what players reported of that minute, as far
    as it had arrived a minute after its end: what comes later is not known when it could warn. A
    minute is formed anew, whole, when an event or a log row of it arrives. -#}
{%- set cohort = ['edge', 'isp', 'device_type'] -%}
{%- set batches = ['_batch_id', '_logs_batch_id'] -%}
{{
    config(
        unique_key = ['minute'] + cohort,
        prune_by = 'minute',
        rewrites = 'minute',
        clustered_by = ['minute']
    )
}}

with

activity as (

    select
        *,
        date_trunc('minute', event_at) as minute
    from {{ ref('video_activity') }}
    where
        {{ is_near_news_of_any('video_activity', 'event_date', 0, batches) }}

),

minutes_with_news as (

    select distinct minute
    from activity
    where
        {{ is_any_new(batches) }}

),

activity_of_minutes as (

    select activity.*
    from activity
    left semi join minutes_with_news
        on activity.minute = minutes_with_news.minute

),

activity_judged as (

    select
        minute,
        coalesce(location, 'Unavailable') as edge,
        coalesce(isp, 'Unavailable') as isp,
        coalesce(device_type, 'Unavailable') as device_type,
        user_id,
        type,
        time_ms,
        case when type = 'stream' then bitrate_bps end as shown_bps,
        not coalesce(isbot, false) and arrived_at < minute + interval 2 minutes as is_counted,
        -- ended() shifts its arguments: a sentence stands where the id should
        type = 'error'
        and not coalesce(array_contains(flags, 'tracking_id_invalid'), false) as is_error,
        coalesce(
            buffer_type = 'screenfreezedbuffer' and at_s > 0 and time_ms is not null, false
        ) as is_stall,
        _batch_id,
        _logs_batch_id
    from activity_of_minutes

),

activity_counted as (

    select
        *,
        is_counted and is_error as is_counted_error,
        is_counted and is_stall as is_counted_stall
    from activity_judged

),

cohort_activity as (

    select
        minute,
        {{ cohort | join(',\n        ') }},
        count(distinct case when is_counted then user_id end) as viewers,
        count(distinct case when is_counted_error then user_id end) as failing_viewers,
        count(distinct case when is_counted_stall then user_id end) as stalled_viewers,
        count_if(is_counted and type = 'play') as starts,
        count_if(is_counted and type = 'stream') as played_s,
        coalesce(sum(shown_bps) filter (where is_counted), 0) as played_bits,
        count_if(is_counted and shown_bps is not null) as rated_s,
        count_if(is_counted_error) as errors,
        count_if(is_counted_stall) as stalls,
        coalesce(sum(time_ms) filter (where is_counted_stall), 0) as stalled_ms,
        max(_batch_id) as _batch_id,
        max(_logs_batch_id) as _logs_batch_id
    from activity_counted
    group by minute, {{ cohort | join(', ') }}

)

select * from cohort_activity
