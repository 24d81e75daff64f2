{#- One row per session of a viewer with a video, with what the viewer experienced. A view over
    playback_session_days, which is what is kept. -#}
{{ config(materialized = 'view') }}

with

session_days as (

    select
        session_date,
        user_id,
        video_id,
        sessions,
        _batch_id
    from {{ ref('playback_session_days') }}

),

sessions_apart as (

    select
        session_date,
        user_id,
        video_id,
        explode(sessions) as playback,
        _batch_id
    from session_days

),

sessions as (

    select
        session_date,
        user_id,
        video_id,
        playback.*,
        _batch_id
    from sessions_apart

),

playback_sessions as (

    select
        session_date,
        user_id,
        video_id,
        session_key,
        session_id,
        first_event_at,
        last_event_at,
        attempted_at,
        first_frame_at,
        is_attempt,
        is_play,
        is_attempt and not is_play and failure_class is null as is_exit_before_start,
        is_attempt and not is_play and failure_class is not null as is_start_failure,
        is_play and coalesce(failure_class = 'technical', false) as is_playback_failure,
        has_ended,
        failure_class,
        failure_code,
        startup_ms,
        first_frame_wait_ms,
        plays,
        pauses,
        seeks,
        downshifts,
        stalls,
        stalled_ms,
        seeking_ms,
        errors,
        played_s,
        played_bits,
        rated_s,
        last_at_s,
        duration_s,
        playlist_type,
        connection_type,
        app_version,
        app_type,
        device_type,
        os,
        cdn,
        first_tracking_id,
        events,
        minutes,
        _batch_id
    from sessions

)

select * from playback_sessions
