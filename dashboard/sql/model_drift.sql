-- One row per feature, and one for the score: its drift on the newest day, and the most in a week.
with

newest as (

    select max(profile_date) as newest_date
    from ops.player_churn_drift

),

week as (

    select
        drift.feature,
        max(drift.profile_date) as profile_date,
        arg_max(drift.model_version, drift.profile_date) as model_version,
        arg_max(drift.profiles, drift.profile_date) as profiles,
        arg_max(drift.stability_index, drift.profile_date) as stability_index,
        max(drift.stability_index) as most_in_week,
        arg_max(drift.importance, drift.profile_date) as importance
    from ops.player_churn_drift as drift
    inner join newest
        on drift.profile_date > newest.newest_date - 7
    group by drift.feature

)

select *
from week
order by feature = 'score' desc, stability_index desc, feature
