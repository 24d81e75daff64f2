{#- One row per game and configuration: the minute in which it was first seen. -#}
{{
    config(
        unique_key = ['game_id', 'config_version'],
        clustered_by = ['game_id']
    )
}}

with

configured_minutes as (

    select
        game_id,
        substr(cohort, length(game_id) + length(', ') + 1) as config_version,
        minute,
        _batch_id
    from {{ ref('game_minutes') }}
    where
        metric = 'configured_events'
        and (
            {{ is_near_news('game_minutes', 'minute', 0) }}
            or {{ is_near_news(
                'game_moves', 'least(event_at, left_at)', 0, day='minute',
                last_day='greatest(event_at, left_at)'
            ) }}
        )

),

minutes_left as (

    select distinct
        game_id,
        date_trunc('minute', left_at) as minute
    from {{ ref('game_moves') }}
    where {{ has_moved('_batch_id') }}

),

changes_known as (

    {% if is_incremental() -%}
    select
        game_id,
        config_version,
        changed_at,
        _batch_id
    from {{ this }}
    {%- else -%}
    select
        game_id,
        config_version,
        minute as changed_at,
        _batch_id
    from configured_minutes
    where false
    {%- endif %}

),

-- where the first event of a version has moved, its first minute is that of the event now, or one
-- between the two
changes_that_hold as (

    select changes_known.*
    from changes_known
    left anti join minutes_left
        on
            changes_known.game_id = minutes_left.game_id
            and changes_known.changed_at = minutes_left.minute

),

times_seen as (

    select
        game_id,
        config_version,
        minute as seen_at,
        _batch_id
    from configured_minutes
    union all
    select
        game_id,
        config_version,
        changed_at as seen_at,
        _batch_id
    from changes_that_hold

),

versions_with_news as (

    select
        game_id,
        config_version
    from configured_minutes
    where {{ is_new('_batch_id') }}

),

game_config_changes as (

    select
        times_seen.game_id,
        times_seen.config_version,
        min(times_seen.seen_at) as changed_at,
        max(times_seen._batch_id) as _batch_id
    from times_seen
    left semi join versions_with_news
        on
            times_seen.game_id = versions_with_news.game_id
            and times_seen.config_version = versions_with_news.config_version
    group by times_seen.game_id, times_seen.config_version

)

select * from game_config_changes
