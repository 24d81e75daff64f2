{#- One row per game and configuration: the minute in which it was first seen. -#}
{{
    config(
        unique_key = ['game_id', 'config_version'],
        earliest_by = ['changed_at'],
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
        and {{ is_new('_batch_id') }}

),

game_config_changes as (

    select
        game_id,
        config_version,
        min(minute) as changed_at,
        max(_batch_id) as _batch_id
    from configured_minutes
    group by game_id, config_version

)

select * from game_config_changes
