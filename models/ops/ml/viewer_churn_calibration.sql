{#- One row per version and day whose outcome is known, after all that the version has learned from:
    what was foretold of viewers, and what came. -#}
{{ config(materialized = 'view') }}
{{
    calibration_of(
        'viewer_churn_calibration',
        model = 'viewer_churn',
        profile = 'viewer_profile',
        entity = ['user_id'],
        activity = 'viewer_experience',
        date = 'session_date',
        where = 'not coalesce(is_bot, false)',
        is_return = 'coalesce(plays > 0, false)'
    )
}}
