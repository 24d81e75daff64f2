{#- One row per minute, country, ISP, edge, device, app version and video: what viewers experienced
    in that minute. A minute is formed anew, whole, when one of its sessions has a new event or one
    of its requests a new log row, and what came out the same is left alone. -#}
{%- set cohort = [
    'country', 'isp', 'edge', 'device_type', 'app_version', 'video_id',
] -%}
{{
    config(
        unique_key = ['minute'] + cohort,
        prune_by = 'minute',
        rewrites = 'minute',
        clustered_by = ['minute']
    )
}}

{%- set counts = {
    'attempts': 'is_start',
    'plays': 'is_start and is_play',
    'exits_before_start': 'is_start and is_exit_before_start',
    'start_failures_technical': "is_start and is_start_failure and failure_class = 'technical'",
    'start_failures_business': "is_start and is_start_failure and failure_class <> 'technical'",
    'startups': 'is_start and startup_ms is not null',
    'first_frame_waits': 'is_start and first_frame_wait_ms is not null',
    'ended_plays': 'is_end and is_play',
    'failed_plays': 'is_end and is_playback_failure',
    'ended_plays_with_stall': 'is_end and is_play and session_stalls > 0',
    'sessions_with_stall': 'stalls > 0',
    'sessions_with_error': 'errors > 0',
} -%}
{%- set sums = {
    'startup_ms': 'case when is_start then startup_ms end',
    'first_frame_wait_ms': 'case when is_start then first_frame_wait_ms end',
    'played_s': 'played_s',
    'played_bits': 'played_bits',
    'rated_s': 'rated_s',
    'stalls': 'stalls',
    'stalled_ms': 'stalled_ms',
    'seeking_ms': 'seeking_ms',
    'errors': 'errors',
} %}

with

playbacks as (

    select
        *,
        {{ is_new('_batch_id') }} as has_news
    from {{ ref('playback_sessions') }}
    where
        {{ is_near_news('playback_sessions', 'session_date', 1) }}
        or {{ is_near_news('cdn_logs', 'logdate', 2, day='session_date', cursor='_logs_batch_id') }}

),

requests as (

    select
        requestid,
        logdate,
        location,
        origin,
        isp,
        isbot,
        is_hosting,
        _batch_id
    from {{ ref('cdn_logs') }}
    where
        {{ is_near_news('playback_sessions', 'session_date', 2, day='logdate') }}
        or {{ is_near_news('cdn_logs', 'logdate', 2, cursor='_logs_batch_id') }}

),

minutes_apart as (

    select
        playbacks.*,
        explode(minutes) as reported
    from playbacks

),

session_minutes as (

    select
        reported.minute,
        user_id,
        video_id,
        coalesce(device_type, 'Unavailable') as device_type,
        coalesce(app_version, 'Unavailable') as app_version,
        -- a minute without a request of its own has that of the session's start
        coalesce(reported.tracking_id, first_tracking_id) as tracking_id,
        is_attempt and date_trunc('minute', attempted_at) = reported.minute as is_start,
        date_trunc('minute', last_event_at) = reported.minute as is_end,
        is_play,
        is_exit_before_start,
        is_start_failure,
        is_playback_failure,
        failure_class,
        startup_ms,
        first_frame_wait_ms,
        stalls as session_stalls,
        first_frame_at,
        last_event_at,
        reported.played_s,
        reported.played_bits,
        reported.rated_s,
        reported.stalls,
        reported.stalled_ms,
        reported.seeking_ms,
        reported.errors,
        reported.newest_arrival_at,
        reported._batch_id,
        has_news
    from minutes_apart

),

new_requests as (

    select
        requestid,
        max(logdate) as logdate
    from requests
    where {{ is_new('_batch_id', cursor='_logs_batch_id') }}
    group by requestid

),

session_minutes_beside_new_requests as (

    select
        session_minutes.*,
        new_requests.requestid is not null as has_new_request
    from session_minutes
    left outer join new_requests
        on
            session_minutes.tracking_id = new_requests.requestid
            and {{ is_log_of('session_minutes.minute', 'new_requests.logdate') }}

),

session_minutes_judged as (

    select
        *,
        bool_or(has_news or has_new_request) over (partition by minute) as is_minute_to_form
    from session_minutes_beside_new_requests

),

session_minutes_to_form as (

    select *
    from session_minutes_judged
    where is_minute_to_form

),

ids_to_find as (

    select distinct tracking_id
    from session_minutes_to_form

),

-- an id stands once, whatever days its log rows name
requests_found as (

    select
        requests.requestid,
        max_by(
            struct(
                requests.logdate, requests.location, requests.origin, requests.isp,
                requests.isbot, requests.is_hosting, requests._batch_id
            ),
            requests.logdate
        ) as request
    from requests
    left semi join ids_to_find
        on requests.requestid = ids_to_find.tracking_id
    group by requests.requestid

),

session_minutes_with_request as (

    select
        session_minutes_to_form.*,
        requests_found.request
    from session_minutes_to_form
    left outer join requests_found
        on
            session_minutes_to_form.tracking_id = requests_found.requestid
            and {{ is_log_of('session_minutes_to_form.minute', 'requests_found.request.logdate') }}

),

located_minutes as (

    select
        *,
        coalesce(request.origin, 'Unavailable') as country,
        coalesce(request.isp, 'Unavailable') as isp,
        coalesce(request.location, 'Unavailable') as edge,
        coalesce(request.isbot, false) as is_bot,
        coalesce(request.is_hosting, false) as is_hosting,
        request._batch_id as _logs_batch_id
    from session_minutes_with_request

),

cells as (

    select
        minute,
        {{ cohort | join(',\n        ') }},
        count_if(not is_bot) as sessions,
        theta_sketch_agg(user_id) filter (where not is_bot) as viewers,
        {%- for name, condition in counts.items() %}
        count_if(not is_bot and {{ condition }}) as {{ name }},
        {%- endfor %}
        {%- for name, expression in sums.items() %}
        coalesce(sum({{ expression }}) filter (where not is_bot), 0) as {{ name }},
        {%- endfor %}
        collect_list({{ duration_bucket('startup_ms') }}) filter (
            where not is_bot and is_start and startup_ms is not null
        ) as startup_buckets,
        array(
            {%- for second in range(0, 60, 10) %}
            count_if(
                not is_bot
                and first_frame_at <= minute + interval {{ second }} seconds
                and last_event_at >= minute + interval {{ second }} seconds
            ){{ ',' if not loop.last }}
            {%- endfor %}
        ) as concurrent_plays,
        theta_sketch_agg(user_id) filter (where not is_bot and stalls > 0) as stalled_viewers,
        theta_sketch_agg(user_id) filter (where not is_bot and errors > 0) as failing_viewers,
        count_if(is_hosting and not is_bot) as hosting_sessions,
        count_if(is_bot) as bot_sessions,
        max(newest_arrival_at) as newest_arrival_at,
        max(_batch_id) as _batch_id,
        max(_logs_batch_id) as _logs_batch_id
    from located_minutes
    group by minute, {{ cohort | join(', ') }}

),

noc_playback as (

    select
        minute,
        {{ cohort | join(',\n        ') }},
        sessions,
        viewers,
        attempts,
        plays,
        exits_before_start,
        start_failures_technical,
        start_failures_business,
        startups,
        startup_ms,
        {{ histogram('startup_buckets') }} as startup_histogram,
        first_frame_waits,
        first_frame_wait_ms,
        ended_plays,
        failed_plays,
        ended_plays_with_stall,
        concurrent_plays,
        played_s,
        played_bits,
        rated_s,
        stalls,
        stalled_ms,
        seeking_ms,
        sessions_with_stall,
        stalled_viewers,
        errors,
        sessions_with_error,
        failing_viewers,
        hosting_sessions,
        bot_sessions,
        newest_arrival_at,
        _batch_id,
        _logs_batch_id
    from cells

)

select * from noc_playback
