-- One row per level and configuration of the chosen game: its last seven days.
with

recent as (

    select *
    from gold.level_funnel
    where
        game_id = getvariable('game')
        and played_on > (
            select max(newest.played_on) - 7
            from gold.level_funnel as newest
            where newest.game_id = getvariable('game')
        )

),

game_levels as (

    select
        level_id,
        config_version,
        cast(sum(starts) as bigint) as starts,
        sum(completions) / sum(starts) as completion_rate,
        sum(quits) / sum(starts) as quit_rate
    from recent
    group by level_id, config_version
    having sum(starts) > 0

)

select *
from game_levels
order by level_id, config_version
