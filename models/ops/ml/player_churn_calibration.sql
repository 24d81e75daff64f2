{#- One row per version and day whose outcome is known, after all that the version has learned from:
    what was foretold of players, and what came. -#}
{{ config(materialized = 'view') }}
{{
    calibration_of(
        'player_churn_calibration',
        model = 'player_churn',
        entity = ['game_id', 'player_id'],
        activity = 'game_player_days',
        date = 'activity_date',
        known_of = ['game_id']
    )
}}
