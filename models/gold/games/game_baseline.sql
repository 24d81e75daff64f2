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
{{
    usual_values(
        'game_baseline',
        'game_windows',
        ['_batch_id'],
        left_hours = game_windows_left('hour', 'hour'),
        is_near_left_hours = is_near_news('game_moves', 'left_at', 29, day='window_start')
    )
}}
