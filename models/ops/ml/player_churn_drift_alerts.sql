{#- One row per version of player_churn, and run of days in a row on which the profiles that it
    scored were far from those that it was judged on. -#}
{{ config(materialized = 'view') }}
{{
    drift_alerts_of(
        'player_churn_drift_alerts',
        model = 'player_churn',
        drift = 'player_churn_drift'
    )
}}
