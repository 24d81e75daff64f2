-- One row per cohort of the chosen game: its players, and the share that played exactly 1, 3 and 7
-- days later; null while that day is not over. The definition is that of gold.retention_cohorts.
with

days as (

    select
        players.first_active_on as cohort_date,
        date_diff('day', players.first_active_on, player_days.activity_date) as day_number
    from silver.game_players as players
    inner join silver.game_player_days as player_days
        on
            players.game_id = player_days.game_id
            and players.player_id = player_days.player_id
    where players.game_id = getvariable('game')

),

last_day as (

    select max(activity_date) as last_date
    from silver.game_player_days
    where game_id = getvariable('game')

),

cohorts as (

    select
        cohort_date,
        count_if(day_number = 0) as players,
        count_if(day_number = 1) as active_1,
        count_if(day_number = 3) as active_3,
        count_if(day_number = 7) as active_7
    from days
    group by cohort_date

),

game_retention as (

    select
        cohorts.cohort_date,
        cohorts.players,
        case when cohorts.cohort_date + 1 <= last_date then active_1 / players end as retention_1,
        case when cohorts.cohort_date + 3 <= last_date then active_3 / players end as retention_3,
        case when cohorts.cohort_date + 7 <= last_date then active_7 / players end as retention_7
    from cohorts
    cross join last_day

)

select *
from game_retention
order by cohort_date
