{#- One row per version of viewer_churn, and run of days in a row on which the profiles that it
    scored were far from those that it was judged on. -#}
{{ config(materialized = 'view') }}
{{
    drift_alerts_of(
        'viewer_churn_drift_alerts',
        model = 'viewer_churn',
        drift = 'viewer_churn_drift'
    )
}}
