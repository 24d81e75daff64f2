{#- One row per hour, cohort and metric: what was usual before it. That is the same hour of the four
    weeks before; of what has not been seen for so long, of the days before; else it is the day
    before. -#}
{{
    config(
        unique_key = ['hour', 'cohort_kind', 'cohort', 'metric'],
        prune_by = 'hour',
        rewrites = 'hour',
        clustered_by = ['hour']
    )
}}
{{ usual_values('noc_baseline', 'noc_windows', ['_batch_id', '_logs_batch_id', '_cdn_batch_id']) }}
