-- One row per cohort of viewers of the newest minute that was scored: the most at risk first.
with

newest_minutes as (

    select max(minute) as minute
    from gold.cohorts_at_risk

)

select
    cohorts.minute,
    cohorts.edge,
    cohorts.isp,
    cohorts.device_type,
    cohorts.score,
    cohorts.layer,
    cohorts.layer_evidence,
    cohorts.viewers_1,
    cohorts.model_version
from gold.cohorts_at_risk as cohorts
inner join newest_minutes
    on cohorts.minute = newest_minutes.minute
where cohorts.viewers_1 > 0
order by cohorts.score desc, cohorts.edge, cohorts.isp, cohorts.device_type
limit 25
