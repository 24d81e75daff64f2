-- One row per profile whose outcome is known: whether the player plays in the 14 days that follow
-- the day of the profile. That day itself is a gap: who foretells needs some of it.
with

profiles as (

    select *
    from gold.player_profile

),

player_days as (

    select
        game_id,
        player_id,
        activity_date
    from silver.game_player_days

),

newest_days as (

    select
        game_id,
        max(activity_date) as newest_date
    from player_days
    group by game_id

),

returns as (

    select distinct
        profiles.profile_date,
        profiles.game_id,
        profiles.player_id
    from profiles
    inner join player_days
        on
            profiles.game_id = player_days.game_id
            and profiles.player_id = player_days.player_id
            and profiles.profile_date < player_days.activity_date
            and profiles.profile_date + 14 >= player_days.activity_date

),

player_churn as (

    select
        profiles.*,
        returns.player_id is null as outcome
    from profiles
    inner join newest_days
        on
            profiles.game_id = newest_days.game_id
            and profiles.profile_date + 14 < newest_days.newest_date
    left outer join returns
        on
            profiles.profile_date = returns.profile_date
            and profiles.game_id = returns.game_id
            and profiles.player_id = returns.player_id

)

select * from player_churn
