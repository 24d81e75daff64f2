-- One row per game: its newest day, and the day before.
with

days as (

    select
        players.game_id,
        players.activity_date,
        players.dau,
        players.stickiness,
        players.new_players,
        revenue.net_usd,
        revenue.arpdau_usd,
        lag(players.dau) over of_game as previous_dau,
        lag(revenue.net_usd) over of_game as previous_net_usd,
        row_number() over (
            partition by players.game_id order by players.activity_date desc
        ) as place
    from gold.players_daily as players
    left outer join gold.revenue_daily as revenue
        on
            players.game_id = revenue.game_id
            and players.activity_date = revenue.revenue_date
    window of_game as (partition by players.game_id order by players.activity_date)

),

games as (

    select * exclude (place)
    from days
    where place = 1

)

select *
from games
order by dau desc, game_id
