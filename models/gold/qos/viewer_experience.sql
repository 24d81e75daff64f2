{#- One row per viewer and day on which they reported anything: the sessions that began that day,
    which may be none, and how they went. -#}
{%- set key = ['session_date', 'user_id'] -%}
{{
    config(
        unique_key = key,
        prune_by = 'session_date',
        clustered_by = ['session_date', 'user_id']
    )
}}
{%- set counts = {
    'sessions': 'true',
    'attempts': 'is_attempt',
    'plays': 'is_play',
    'exits_before_start': 'is_attempt and not is_play and failure_class is null',
    'start_failures_technical': "is_attempt and not is_play and failure_class = 'technical'",
    'start_failures_business': "is_attempt and not is_play and failure_class <> 'technical'",
    'failed_plays': "is_play and failure_class = 'technical'",
    'completed_plays': 'is_play and has_ended',
    'startups': 'startup_ms is not null',
    'startups_over_2s': 'startup_ms > 2000',
    'startups_over_10s': 'startup_ms > 10000',
    'sessions_with_stall': 'stalls > 0',
    'sessions_with_3_stalls': 'stalls >= 3',
} -%}
{%- set sums = [
    'startup_ms', 'played_s', 'played_bits', 'rated_s', 'stalls', 'stalled_ms', 'seeking_ms',
    'pauses', 'seeks', 'downshifts', 'errors',
] %}

with

session_days as (

    select *
    from {{ ref('playback_session_days') }}

),

viewer_days_with_news as (

    select distinct {{ key | join(', ') }}
    from session_days
    where {{ is_new('_batch_id') }}

),

session_days_to_sum as (

    select session_days.*
    from session_days
    left semi join viewer_days_with_news
        on
            session_days.session_date = viewer_days_with_news.session_date
            and session_days.user_id = viewer_days_with_news.user_id
    where {{ is_near_news('playback_session_days', 'session_date', 0) }}

),

-- a day without a session has one row, without playback
playbacks_apart as (

    select
        session_date,
        user_id,
        video_id,
        explode_outer(sessions) as playback,
        _batch_id
    from session_days_to_sum

),

playbacks as (

    select
        session_date,
        user_id,
        video_id,
        playback is not null as is_session,
        playback.*,
        _batch_id
    from playbacks_apart

),

viewer_days as (

    select
        {{ key | join(',\n        ') }},
        {%- for name, condition in counts.items() %}
        count_if(is_session and {{ condition }}) as {{ name }},
        {%- endfor %}
        {%- for name in sums %}
        coalesce(sum({{ name }}), 0) as {{ name }},
        {%- endfor %}
        max(startup_ms) as longest_startup_ms,
        collect_list({{ duration_bucket('startup_ms') }}) filter (
            where startup_ms is not null
        ) as startup_buckets,
        count(distinct case when is_play then video_id end) as videos,
        count(distinct device_type) as device_types,
        -- the last by its start; of two at once the one with the greater key
        max(
            struct(first_event_at, session_key, stalls, startup_ms, failure_class, is_play)
        ) filter (where is_session and is_attempt) as last_attempt,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at,
        max(_batch_id) as _batch_id
    from playbacks
    group by {{ key | join(', ') }}

),

viewer_experience as (

    select
        session_date,
        user_id,
        first_event_at,
        last_event_at,
        sessions,
        attempts,
        plays,
        exits_before_start,
        start_failures_technical,
        start_failures_business,
        failed_plays,
        completed_plays,
        startups,
        startup_ms,
        longest_startup_ms,
        {{ histogram('startup_buckets') }} as startup_histogram,
        startups_over_2s,
        startups_over_10s,
        played_s,
        played_bits,
        rated_s,
        stalls,
        stalled_ms,
        seeking_ms,
        sessions_with_stall,
        sessions_with_3_stalls,
        pauses,
        seeks,
        downshifts,
        errors,
        videos,
        device_types,
        coalesce(last_attempt.failure_class = 'technical', false) as last_attempt_failed,
        coalesce(last_attempt.stalls, 0) as last_attempt_stalls,
        last_attempt.startup_ms as last_attempt_startup_ms,
        _batch_id
    from viewer_days

)

select * from viewer_experience
