-- One row per alert of the chosen game that was pending, firing or resolved in the interval:
-- gold.game_alerts, which is a view that Spark alone can read, but for its column suppressed_by.
select *
from alerts_in('gold.game_judgements', 'ops.alert_rules')
where
    cohort = getvariable('game')
    or starts_with(cohort, concat(getvariable('game'), ', '))
order by state, severity, impacted desc nulls last, started_at, rule, cohort
limit 200
