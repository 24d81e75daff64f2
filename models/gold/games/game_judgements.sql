{#- One row per window of five minutes and rule: the cohorts that the rule is broken by, which are
    mostly none. -#}
{{
    config(
        unique_key = ['window_start', 'rule'],
        prune_by = 'window_start',
        rewrites = 'window_start',
        clustered_by = ['window_start']
    )
}}
{{
    judged_windows(
        'game_judgements',
        domain = 'games',
        windows = 'game_windows',
        figures = 'game_compare',
        references = {
            'baseline': 'baseline', 'peers': 'peers_value', 'before': 'before_value'
        },
        batches = ['_batch_id'],
        left_windows = game_windows_left(),
        is_near_left_windows = is_near_news('game_moves', 'left_at', 1, day='window_start')
    )
}}
