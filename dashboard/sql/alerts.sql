-- One row per alert that was pending, firing or resolved in the interval: gold.alerts, which is a
-- view that Spark alone can read, but for its column suppressed_by.
select *
from alerts_in('gold.alert_judgements', 'ops.alert_rules')
where
    getvariable('cohort_kind') = 'all'
    or cohort_kind = 'all'
    or (cohort_kind = getvariable('cohort_kind') and cohort = getvariable('cohort'))
order by state, severity, impacted desc nulls last, started_at, rule, cohort
limit 200
