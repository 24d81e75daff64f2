{#- One row per viewer, video and day with events: the sessions that began that day, which may be
    none. Sessions belong to the day of their first event, so a row hangs on the events of its day
    and those before and after it, and whenever one of these arrives the row is formed anew. A
    session that a late event moves leaves no row behind: it moves between the arrays of rows that
    stay. -#}
{%- set seek_shadow_ms = var('seek_shadow_ms') | int -%}
{{
    config(
        unique_key = ['session_date', 'user_id', 'video_id'],
        prune_by = 'session_date',
        clustered_by = ['session_date', 'user_id']
    )
}}

{%- set columns = [
    'session_id', 'last_event_at', 'attempted_at', 'first_frame_at', 'is_attempt', 'is_play',
    'has_ended', 'failure_class', 'failure_code', 'startup_ms', 'first_frame_wait_ms', 'plays',
    'pauses', 'seeks', 'downshifts', 'stalls', 'stalled_ms', 'seeking_ms', 'errors', 'played_s', 'played_bits', 'rated_s',
    'last_at_s', 'duration_s', 'playlist_type', 'connection_type', 'app_version', 'app_type',
    'device_type', 'os', 'cdn', 'first_tracking_id', 'events', 'minutes',
] %}
{%- set minute_columns = [
    'minute', 'played_s', 'played_bits', 'rated_s', 'stalls', 'stalled_ms', 'seeking_ms', 'errors',
    'tracking_id', 'events', 'newest_arrival_at', '_batch_id',
] %}

with

events as (

    select *
    from {{ ref('player_events') }}
    where
        user_id is not null
        and video_id is not null
        and type is not null

),

days_with_news as (

    select distinct
        user_id,
        video_id,
        event_date
    from events
    where {{ is_new('_batch_id') }}

),

days_beside_news as (

    select distinct
        user_id,
        video_id,
        explode(sequence(date_sub(event_date, 1), date_add(event_date, 1))) as session_date
    from days_with_news

),

days_to_read as (

    select distinct
        user_id,
        video_id,
        explode(sequence(date_sub(session_date, 1), date_add(session_date, 1))) as event_date
    from days_beside_news

),

events_to_read as (

    select
        events.*,
        unix_millis(coalesce(
            case when not array_contains(events.flags, 'clock_wrong') then events.client_at end,
            events.event_at
        )) as at_ms,
        -- the page was loaded, and the viewer had not pressed play
        events.playlist_type is null and events.type in ('firstframe', 'buffer')
            as is_before_play
    from events
    left semi join days_to_read
        on
            events.user_id = days_to_read.user_id
            and events.video_id = days_to_read.video_id
            and events.event_date = days_to_read.event_date
    where {{ is_near_news('player_events', 'event_date', 2) }}

),

events_with_previous as (

    select
        *,
        lag(struct(at_ms, is_before_play, type)) over in_session_id as previous
    from events_to_read
    window
        in_session_id as (
            partition by user_id, video_id, session_id order by at_ms, seq, event_id
        )

),

events_with_start as (

    select
        *,
        case
            when previous is null then true
            when session_id is not null then false
            when at_ms - previous.at_ms > {{ var('session_gap_minutes') }} * 60000 then true
            when is_before_play then not previous.is_before_play
            -- pressed from the beginning; of a page that had loaded before, it is the same session
            when type = 'play' and coalesce(at_s, 0) < 0.5 then not previous.is_before_play
            else false
        end as is_start
    from events_with_previous

),

events_in_session as (

    select
        *,
        count_if(is_start) over (
            partition by user_id, video_id, session_id
            order by at_ms, seq, event_id
            rows between unbounded preceding and current row
        ) as session_number
    from events_with_start

),

events_beside_seeks as (

    select
        *,
        count_if(type = 'seek') over (
            partition by user_id, video_id, session_id, session_number
            order by at_ms
            range between {{ seek_shadow_ms }} preceding and {{ seek_shadow_ms }} following
        ) > 0 as is_beside_seek,
        min(case when type = 'firstframe' then at_ms end) over (
            partition by user_id, video_id, session_id, session_number
        ) as first_frame_ms
    from events_in_session

),

events_judged as (

    select
        *,
        -- ended() shifts its arguments: a sentence stands where the id should
        type = 'error'
        and array_contains(flags, 'tracking_id_invalid') as is_end_reported_as_error,
        coalesce(
            buffer_type = 'screenfreezedbuffer'
            and at_s > 0
            and at_ms >= first_frame_ms
            and not is_beside_seek
            and time_ms is not null,
            false
        ) as is_stall
    from events_beside_seeks

),

session_minutes as (

    select
        user_id,
        video_id,
        session_id,
        session_number,
        date_trunc('minute', event_at) as minute,
        count_if(type = 'stream') as played_s,
        coalesce(sum(bitrate_bps) filter (where type = 'stream'), 0) as played_bits,
        count_if(type = 'stream' and bitrate_bps is not null) as rated_s,
        count_if(is_stall) as stalls,
        coalesce(sum(time_ms) filter (where is_stall), 0) as stalled_ms,
        coalesce(sum(time_ms) filter (where type = 'seek'), 0) as seeking_ms,
        count_if(type = 'error' and not is_end_reported_as_error) as errors,
        max_by(
            cdn_tracking_id, struct(at_ms, seq, event_id)
        ) filter (where cdn_tracking_id is not null) as tracking_id,
        count(*) as events,
        max(_arrived_at) as newest_arrival_at,
        max(_batch_id) as _batch_id
    from events_judged
    group by user_id, video_id, session_id, session_number, date_trunc('minute', event_at)

),

minute_lists as (

    select
        user_id,
        video_id,
        session_id,
        session_number,
        array_sort(collect_list(named_struct(
            {%- for column in minute_columns %}
            '{{ column }}', {{ column }}{{ ',' if not loop.last }}
            {%- endfor %}
        ))) as minutes
    from session_minutes
    group by user_id, video_id, session_id, session_number

),

sessions as (

    select
        user_id,
        video_id,
        session_id,
        session_number,
        min(event_date) as session_date,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at,
        min(case when type = 'play' then at_ms end) as intent_ms,
        min(first_frame_ms) as first_frame_ms,
        min_by(time_ms, at_ms) filter (where type = 'firstframe') as first_frame_wait_ms,
        count_if(type = 'play') as plays,
        count_if(type = 'pause') as pauses,
        count_if(type = 'seek') as seeks,
        count_if(type = 'step' and direction = 'down') as downshifts,
        count_if(type = 'stop') > 0 as has_ended,
        -- one comes for each second of playhead
        count_if(type = 'stream') as played_s,
        coalesce(sum(case when type = 'stream' then bitrate_bps end), 0) as played_bits,
        count_if(type = 'stream' and bitrate_bps is not null) as rated_s,
        max(at_s) as last_at_s,
        max(duration_s) as duration_s,
        count_if(is_stall) as stalls,
        coalesce(sum(time_ms) filter (where is_stall), 0) as stalled_ms,
        coalesce(sum(case when type = 'seek' then time_ms end), 0) as seeking_ms,
        max_by(
            struct(type, error_fatal, is_end_reported_as_error),
            struct(at_ms, seq, event_id)
        ) as last_event,
        max_by(
            struct(error_class, error_code), struct(at_ms, seq, event_id)
        ) filter (where error_fatal) as fatal_error,
        count_if(type = 'error' and not is_end_reported_as_error) as errors,
        max(playlist_type) as playlist_type,
        max(connection_type) as connection_type,
        max(app_version) as app_version,
        max(app_type) as app_type,
        max(device_type) as device_type,
        max(os) as os,
        max(cdn) as cdn,
        -- min_by alone takes the null of the play before it
        min_by(
            cdn_tracking_id, struct(at_ms, seq, event_id)
        ) filter (where cdn_tracking_id is not null) as first_tracking_id,
        count(*) as events,
        max(_batch_id) as _batch_id
    from events_judged
    group by user_id, video_id, session_id, session_number

),

judged_sessions as (

    select
        *,
        timestamp_millis(coalesce(intent_ms, first_frame_ms)) as attempted_at,
        timestamp_millis(first_frame_ms) as first_frame_at,
        intent_ms is not null or first_frame_ms is not null as is_attempt,
        first_frame_ms is not null as is_play,
        -- 0 where the page had loaded before the viewer pressed play
        case
            -- greatest passes over a null
            when first_frame_ms is not null and intent_ms is not null
                then greatest(first_frame_ms - intent_ms, 0)
        end as startup_ms,
        fatal_error.error_code as failure_code,
        case
            when fatal_error is not null then coalesce(fatal_error.error_class, 'technical')
            -- the older SDK does not say: an error after which nothing came was the end
            when
                last_event.type = 'error'
                and last_event.error_fatal is null
                and not last_event.is_end_reported_as_error
                then 'technical'
        end as failure_class
    from sessions

),

sessions_with_minutes as (

    select
        judged_sessions.*,
        minute_lists.minutes
    from judged_sessions
    inner join minute_lists
        on
            judged_sessions.user_id = minute_lists.user_id
            and judged_sessions.video_id = minute_lists.video_id
            and judged_sessions.session_id <=> minute_lists.session_id
            and judged_sessions.session_number = minute_lists.session_number

),

session_lists as (

    select
        session_date,
        user_id,
        video_id,
        array_sort(collect_list(named_struct(
            'first_event_at', first_event_at,
            'session_key',
            coalesce(session_id, md5(concat_ws('|', user_id, video_id, first_event_at))),
            {%- for column in columns %}
            '{{ column }}', {{ column }}{{ ',' if not loop.last }}
            {%- endfor %}
        ))) as sessions
    from sessions_with_minutes
    group by session_date, user_id, video_id

),

-- days of news and those beside them, where they have events
days_to_form as (

    select
        days_beside_news.user_id,
        days_beside_news.video_id,
        days_beside_news.session_date,
        max(events_to_read._batch_id) as _batch_id
    from days_beside_news
    inner join events_to_read
        on
            days_beside_news.user_id = events_to_read.user_id
            and days_beside_news.video_id = events_to_read.video_id
            and events_to_read.event_date >= date_sub(days_beside_news.session_date, 1)
            and events_to_read.event_date <= date_add(days_beside_news.session_date, 1)
    group by
        days_beside_news.user_id, days_beside_news.video_id, days_beside_news.session_date
    having count_if(events_to_read.event_date = days_beside_news.session_date) > 0

),

playback_session_days as (

    select
        days_to_form.session_date,
        days_to_form.user_id,
        days_to_form.video_id,
        coalesce(session_lists.sessions, array()) as sessions,
        days_to_form._batch_id
    from days_to_form
    left outer join session_lists
        on
            days_to_form.session_date = session_lists.session_date
            and days_to_form.user_id = session_lists.user_id
            and days_to_form.video_id = session_lists.video_id

)

select * from playback_session_days
