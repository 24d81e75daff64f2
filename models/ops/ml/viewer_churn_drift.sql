{#- One row per day, version and feature of the profiles of persons that were scored: how far they
    are from those that the version was judged on. -#}
{{
    config(
        unique_key = ['profile_date', 'model_version', 'feature'],
        prune_by = 'profile_date',
        rewrites = 'profile_date',
        clustered_by = ['profile_date']
    )
}}
{{
    drift_of(
        'viewer_churn_drift',
        model = 'viewer_churn',
        scores = source('bronze_ml', 'scores_viewer_churn'),
        profile = 'viewer_profile',
        date = 'profile_date',
        entity = ['user_id'],
        where = 'not coalesce(is_bot, false)'
    )
}}
