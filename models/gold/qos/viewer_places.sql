{#- One row per viewer and day on which they reported anything: on what they watched, and from
    where, by the last event of the day that tells it. -#}
{%- set key = ['activity_date', 'user_id'] -%}
{%- set places = {
    'device_type': 'device_type',
    'connection_type': 'connection_type',
    'app_version': 'app_version',
    'isp': 'isp',
    'country': 'origin',
} -%}
{{
    config(
        unique_key = key,
        prune_by = 'activity_date',
        clustered_by = key
    )
}}

with

activity as (

    select
        *,
        event_date as activity_date
    from {{ ref('video_activity') }}
    where
        user_id is not null
        and video_id is not null
        and type is not null
        and (
            {{ is_near_news('video_activity', 'event_date', 0) }}
            or {{ is_near_news(
                'video_activity', 'event_date', 0, cursor='_logs_batch_id', batch='_logs_batch_id'
            ) }}
        )

),

viewer_days_with_news as (

    select distinct {{ key | join(', ') }}
    from activity
    where {{ is_any_new(['_batch_id', '_logs_batch_id']) }}

),

activity_to_sum as (

    select activity.*
    from activity
    left semi join viewer_days_with_news
        on
            activity.activity_date = viewer_days_with_news.activity_date
            and activity.user_id = viewer_days_with_news.user_id

),

viewer_places as (

    select
        {{ key | join(',\n        ') }},
        {%- for name, column in places.items() %}
        max_by({{ column }}, struct(event_at, event_id)) filter (
            where {{ column }} is not null
        ) as {{ name }},
        {%- endfor %}
        coalesce(bool_or(isbot), false) as is_bot,
        max(_batch_id) as _batch_id,
        max(_logs_batch_id) as _logs_batch_id
    from activity_to_sum
    group by {{ key | join(', ') }}

)

select * from viewer_places
