{#- One row per five minutes, a new one each minute, cohort and metric: the value beside what is
    usual, what was five minutes before, and what the other cohorts of its kind have. -#}
{{ config(materialized = 'view') }}
{{ compared_windows('noc_compare', windows = 'noc_windows', baseline = 'noc_baseline') }}
