{#- One row per five minutes, a new one each minute, cohort and metric: the value beside what is
    usual, what was five minutes before, what the other cohorts of its kind have, and, in the hour
    after a change of the configuration, what was before it. -#}
{{ config(materialized = 'view') }}
{{
    compared_windows(
        'game_compare',
        windows = 'game_windows',
        baseline = 'game_baseline',
        effects = 'game_config_effects'
    )
}}
