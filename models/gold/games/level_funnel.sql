{#- One row per game, day, level and version of the game's configuration: how often it was begun,
    and how it ended. By the day and configuration of each event. -#}
{{
    config(
        unique_key = ['played_on', 'game_id', 'level_id', 'config_version'],
        prune_by = 'played_on',
        rewrites = ['played_on', 'game_id'],
        clustered_by = ['played_on', 'level_id']
    )
}}
{%- set is_near_any_news -%}
{{ is_near_moving_news('game_level_start', 0, cursor='_starts_batch_id') }}
or {{ is_near_moving_news('game_level_end', 0, cursor='_ends_batch_id') }}
{%- endset %}

with

starts as (

    select
        happened_on as played_on,
        game_id,
        level_id,
        coalesce(config_version, '') as config_version,
        player_id,
        session_id,
        'start' as result,
        cast(null as double) as duration_s,
        moved_from,
        _batch_id as _starts_batch_id,
        cast(null as bigint) as _ends_batch_id
    from {{ ref('game_level_start') }}
    where level_id is not null and ({{ is_near_any_news }})

),

ends as (

    select
        happened_on as played_on,
        game_id,
        level_id,
        coalesce(config_version, '') as config_version,
        player_id,
        session_id,
        coalesce(result, '') as result,
        duration_s,
        moved_from,
        cast(null as bigint) as _starts_batch_id,
        _batch_id as _ends_batch_id
    from {{ ref('game_level_end') }}
    where level_id is not null and ({{ is_near_any_news }})

),

events as (

    select *
    from starts
    union all
    select *
    from ends

),

events_with_news as (

    select *
    from events
    where
        {{ is_new('_starts_batch_id', '_starts_batch_id') }}
        or {{ is_new('_ends_batch_id', '_ends_batch_id') }}

),

moves as (

    select
        game_id,
        explode(moved_from) as left_at
    from events
    where
        {{ has_moved('_starts_batch_id', '_starts_batch_id') }}
        or {{ has_moved('_ends_batch_id', '_ends_batch_id') }}

),

days_to_form as (

    select
        game_id,
        played_on
    from events_with_news
    union distinct
    select
        game_id,
        cast(left_at as date) as played_on
    from moves

),

-- what a player did with a level in a session: each end should have its start
attempts as (

    select
        events.played_on,
        events.game_id,
        events.level_id,
        events.config_version,
        events.player_id,
        events.session_id,
        count_if(events.result = 'start') as starts,
        count_if(events.result <> 'start') as ends,
        count_if(events.result = 'completed') as completions,
        count_if(events.result = 'failed') as failures,
        count_if(events.result = 'quit') as quits,
        sum(cast(events.duration_s as decimal(18, 3))) filter (where events.result = 'completed')
            as completed_s,
        max(events._starts_batch_id) as _starts_batch_id,
        max(events._ends_batch_id) as _ends_batch_id
    from events
    left semi join days_to_form
        on
            events.game_id = days_to_form.game_id
            and events.played_on = days_to_form.played_on
    group by
        events.played_on,
        events.game_id,
        events.level_id,
        events.config_version,
        events.player_id,
        events.session_id

),

level_funnel as (

    select
        played_on,
        game_id,
        level_id,
        config_version,
        count(distinct player_id) as players,
        sum(starts) as starts,
        sum(completions) as completions,
        sum(failures) as failures,
        sum(quits) as quits,
        sum(greatest(starts - ends, 0)) as starts_without_end,
        sum(greatest(ends - starts, 0)) as ends_without_start,
        sum(completions) / nullif(sum(starts), 0) as completion_rate,
        sum(failures) / nullif(sum(completions), 0) as failures_per_completion,
        sum(quits) / nullif(sum(starts), 0) as quit_rate,
        cast(sum(completed_s) as double) / nullif(sum(completions), 0) as mean_completed_s,
        max(_starts_batch_id) as _starts_batch_id,
        max(_ends_batch_id) as _ends_batch_id,
        -- nulls are passed over
        greatest(max(_starts_batch_id), max(_ends_batch_id)) as _batch_id
    from attempts
    group by played_on, game_id, level_id, config_version
    {%- if is_incremental() %}

    union all

    -- the day alone: its only event may have moved away
    select
        played_on,
        game_id,
        null as level_id,
        null as config_version,
        null as players,
        null as starts,
        null as completions,
        null as failures,
        null as quits,
        null as starts_without_end,
        null as ends_without_start,
        null as completion_rate,
        null as failures_per_completion,
        null as quit_rate,
        null as mean_completed_s,
        null as _starts_batch_id,
        null as _ends_batch_id,
        null as _batch_id
    from days_to_form
    {%- endif %}

)

select * from level_funnel
