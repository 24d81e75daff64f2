{#- One row per viewer and day, UTC, before which they had reported anything within a week: what was
    known of them when that day began, by which it can be foretold who leaves. Each day is profiled
    as soon as there is an event of it, and anew when something of the 28 days before is late. -#}
{%- set reach_days, window_days = 7, 28 -%}
{{
    config(
        unique_key = ['profile_date', 'user_id'],
        prune_by = 'profile_date',
        clustered_by = ['profile_date', 'user_id']
    )
}}
{%- set sums = [
    'attempts', 'plays', 'exits_before_start', 'start_failures_technical', 'failed_plays',
    'startups', 'startups_over_2s', 'startups_over_10s', 'played_s', 'played_bits', 'rated_s',
    'stalls', 'stalled_ms', 'seeking_ms', 'sessions_with_3_stalls',
] %}
{#- numerator and denominator, of so many days -#}
{%- set shares = {
    'slow_start_share': ['startups_over_2s_N', 'startups_N'],
    'very_slow_start_share': ['startups_over_10s_N', 'startups_N'],
    'rebuffering_share': ['stalled_ms_N', '1000 * played_s_N + stalled_ms_N + seeking_ms_N'],
    'stalls_per_hour': ['3600 * stalls_N', 'played_s_N'],
    'start_failure_share': ['start_failures_technical_N', 'attempts_N'],
    'exit_before_start_share': ['exits_before_start_N', 'attempts_N'],
    'playback_failure_share': ['failed_plays_N', 'plays_N'],
    'bitrate_bps': ['played_bits_N', 'rated_s_N'],
} %}
{#- beside news of either input, by the column that says the day -#}
{%- set near_news = {} -%}
{%- for day in ['session_date', 'activity_date', 'profile_date'] -%}
    {%- do near_news.update({day:
        is_near_news('viewer_experience', 'session_date', window_days, day=day)
        ~ '\n        or '
        ~ is_near_news(
            'viewer_places', 'activity_date', window_days, day=day,
            cursor='_logs_batch_id', batch='_logs_batch_id'
        )
    }) -%}
{%- endfor -%}
{%- set places = ['device_type', 'connection_type', 'app_version', 'isp', 'country', 'is_bot'] %}

with

viewer_days as (

    select
        *,
        last_event_at + make_dt_interval(0, 0, {{ var('session_gap_minutes') }}) as over_at,
        startups_over_10s + sessions_with_3_stalls + start_failures_technical + failed_plays > 0
            as has_bad_session
    from {{ ref('viewer_experience') }}
    where {{ near_news['session_date'] }}

),

viewer_places as (

    select *
    from {{ ref('viewer_places') }}
    where {{ near_news['activity_date'] }}

),

videos_of_days as (

    select
        session_date,
        user_id,
        video_id
    from {{ ref('playback_session_days') }}
    where {{ near_news['session_date'] }}

),

viewer_days_with_news as (

    select
        user_id,
        session_date
    from viewer_days
    where {{ is_new('_batch_id') }}

    union distinct

    select
        user_id,
        activity_date as session_date
    from viewer_places
    where {{ is_new('_logs_batch_id', cursor='_logs_batch_id') }}

),

newest_days as (

    select max(session_date) as newest_date
    from {{ ref('viewer_experience') }}

),

profiled_dates as (

    {% if is_incremental() -%}
    select distinct profile_date
    from {{ this }}
    where {{ near_news['profile_date'] }}
    {%- else -%}
    select cast(null as date) as profile_date
    where false
    {%- endif %}

),

-- who had reported anything within a week before a day
days_in_reach as (

    select distinct
        user_id,
        explode(
            sequence(date_add(session_date, 1), date_add(session_date, {{ reach_days }}))
        ) as profile_date
    from viewer_days

),

reach as (

    select days_in_reach.*
    from days_in_reach
    inner join newest_days
        on days_in_reach.profile_date <= newest_days.newest_date

),

reach_of_new_dates as (

    select reach.*
    from reach
    left anti join profiled_dates
        on reach.profile_date = profiled_dates.profile_date

),

reach_of_late_news as (

    select reach.*
    from reach
    left semi join viewer_days_with_news
        on
            reach.user_id = viewer_days_with_news.user_id
            and reach.profile_date between date_add(viewer_days_with_news.session_date, 1)
            and date_add(viewer_days_with_news.session_date, {{ window_days }})

),

profiles_to_form as (

    select
        user_id,
        profile_date
    from reach_of_new_dates

    union distinct

    select
        user_id,
        profile_date
    from reach_of_late_news

),

-- a day is over when nothing more can come of its sessions; till then it tells that it was
days_before as (

    select
        profiles_to_form.profile_date,
        datediff(profiles_to_form.profile_date, viewer_days.session_date) as days_ago,
        coalesce(viewer_days.over_at < profiles_to_form.profile_date, true) as is_over,
        viewer_days.*
    from profiles_to_form
    inner join viewer_days
        on
            profiles_to_form.user_id = viewer_days.user_id
            and profiles_to_form.profile_date > viewer_days.session_date
            and date_sub(profiles_to_form.profile_date, {{ window_days }})
            <= viewer_days.session_date

),

videos_before as (

    select
        profiles_to_form.profile_date,
        profiles_to_form.user_id,
        count(distinct videos_of_days.video_id) as videos_28
    from profiles_to_form
    inner join videos_of_days
        on
            profiles_to_form.user_id = videos_of_days.user_id
            and profiles_to_form.profile_date > videos_of_days.session_date
            and date_sub(profiles_to_form.profile_date, {{ window_days }})
            <= videos_of_days.session_date
    group by profiles_to_form.profile_date, profiles_to_form.user_id

),

places_before as (

    select
        profiles_to_form.profile_date,
        profiles_to_form.user_id,
        {%- for name in places %}
        max_by(viewer_places.{{ name }}, viewer_places.activity_date) filter (
            where viewer_places.{{ name }} is not null
        ) as {{ name }},
        {%- endfor %}
        max(viewer_places._logs_batch_id) as _logs_batch_id
    from profiles_to_form
    inner join viewer_places
        on
            profiles_to_form.user_id = viewer_places.user_id
            and profiles_to_form.profile_date > viewer_places.activity_date
            and date_sub(profiles_to_form.profile_date, {{ window_days }})
            <= viewer_places.activity_date
    group by profiles_to_form.profile_date, profiles_to_form.user_id

),

activity as (

    select
        profile_date,
        user_id,
        min(days_ago) as days_since_seen,
        max(days_ago) as tenure_days,
        count_if(days_ago <= 7) as active_days_7,
        count_if(days_ago between 8 and 14) as active_days_7_before,
        count(*) as active_days_28,
        coalesce(
            sum(played_s) filter (where is_over and days_ago between 8 and 14), 0
        ) as played_s_7_before,
        -- least squares over 28 days, of which 14.5 ago is the middle and 1827 the sum of squares
        coalesce(sum((29 - 2 * days_ago) * played_s) filter (where is_over), 0)
        / (2 * 60 * 1827) as watch_slope_28,
        {%- for days in (7, 28) %}
        {%- for name in sums %}
        coalesce(sum({{ name }}) filter (where is_over and days_ago <= {{ days }}), 0)
            as {{ name }}_{{ days }},
        {%- endfor %}
        flatten(
            collect_list(startup_histogram) filter (where is_over and days_ago <= {{ days }})
        ) as startup_histogram_{{ days }},
        {%- endfor %}
        min(days_ago) filter (where is_over and has_bad_session) as days_since_bad_session,
        min_by(
            struct(last_attempt_failed, last_attempt_stalls, last_attempt_startup_ms), days_ago
        ) filter (where is_over and attempts > 0) as last_attempt,
        max(_batch_id) as _batch_id
    from days_before
    group by profile_date, user_id

),

viewer_profile as (

    select
        activity.profile_date,
        activity.user_id,
        activity.days_since_seen,
        activity.tenure_days,
        activity.active_days_7,
        activity.active_days_7_before,
        activity.active_days_28,
        activity.attempts_7,
        activity.attempts_28,
        activity.played_s_7 / 60 as watch_minutes_7,
        activity.played_s_7_before / 60 as watch_minutes_7_before,
        activity.played_s_28 / 60 as watch_minutes_28,
        activity.watch_slope_28,
        videos_before.videos_28,
        {%- for days in (7, 28) %}
        {{ bucket_middle(histogram_quantile('activity.startup_histogram_' ~ days, 0.5)) }}
            as startup_p50_ms_{{ days }},
        {{ bucket_middle(histogram_quantile('activity.startup_histogram_' ~ days, 0.95)) }}
            as startup_p95_ms_{{ days }},
        {%- for name, (top, bottom) in shares.items() %}
        {{ top | replace('N', days) }} / nullif({{ bottom | replace('N', days) }}, 0)
            as {{ name }}_{{ days }},
        {%- endfor %}
        activity.sessions_with_3_stalls_{{ days }},
        {%- endfor %}
        activity.days_since_bad_session,
        cast(activity.last_attempt.last_attempt_failed as int) as last_attempt_failed,
        activity.last_attempt.last_attempt_stalls,
        activity.last_attempt.last_attempt_startup_ms,
        {%- for name in places %}
        places_before.{{ name }},
        {%- endfor %}
        activity._batch_id,
        places_before._logs_batch_id
    from activity
    inner join videos_before
        on
            activity.profile_date = videos_before.profile_date
            and activity.user_id = videos_before.user_id
    left outer join places_before
        on
            activity.profile_date = places_before.profile_date
            and activity.user_id = places_before.user_id

)

select * from viewer_profile
