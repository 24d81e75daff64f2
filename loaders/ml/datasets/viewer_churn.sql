-- One row per profile of a person whose outcome is known: whether the viewer plays nothing in the
-- 14 days that follow the day of the profile. That day itself is a gap: who foretells needs some
-- of it.
with

profiles as (

    select *
    from gold.viewer_profile
    where not coalesce(is_bot, false)

),

viewer_days as (

    select
        user_id,
        session_date,
        plays
    from gold.viewer_experience

),

newest_days as (

    select max(session_date) as newest_date
    from viewer_days

),

returns as (

    select distinct
        profiles.profile_date,
        profiles.user_id
    from profiles
    inner join viewer_days
        on
            profiles.user_id = viewer_days.user_id
            and viewer_days.plays > 0
            and profiles.profile_date < viewer_days.session_date
            and profiles.profile_date + 14 >= viewer_days.session_date

),

viewer_churn as (

    select
        profiles.*,
        returns.user_id is null as outcome
    from profiles
    inner join newest_days
        on profiles.profile_date + 14 < newest_days.newest_date
    left outer join returns
        on
            profiles.profile_date = returns.profile_date
            and profiles.user_id = returns.user_id

)

select * from viewer_churn
