{#- One row per day, version and feature of the profiles that were scored: how far they are from
    those that the version was judged on. -#}
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
        'player_churn_drift',
        model = 'player_churn',
        scores = source('bronze_ml', 'scores_player_churn'),
        profile = 'player_profile',
        date = 'profile_date',
        entity = ['game_id', 'player_id']
    )
}}
