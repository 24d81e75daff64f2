-- One row per player, of the newest day of each game, who may be kept: the most at risk first.
with

newest_days as (

    select
        game_id,
        max(profile_date) as profile_date
    from gold.players_at_risk
    group by game_id

),

players_at_risk as (

    select
        players.profile_date,
        players.game_id,
        players.player_id,
        players.score,
        players.risk_decile,
        players.reasons,
        players.days_since_played,
        players.model_version
    from gold.players_at_risk as players
    inner join newest_days
        on
            players.game_id = newest_days.game_id
            and players.profile_date = newest_days.profile_date
    where
        players.is_savable
        and coalesce(getvariable('game'), players.game_id) = players.game_id

)

select *
from players_at_risk
order by score desc, game_id, player_id
limit 25
