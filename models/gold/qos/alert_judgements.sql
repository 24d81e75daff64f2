{#- One row per window of five minutes and rule: the cohorts that the rule is broken by, which are
    mostly none. -#}
{{
    config(
        unique_key = ['window_start', 'rule'],
        prune_by = 'window_start',
        clustered_by = ['window_start']
    )
}}
{{
    judged_windows(
        'alert_judgements',
        domain = 'video',
        windows = 'noc_windows',
        figures = 'noc_compare',
        references = {'baseline': 'baseline', 'peers': 'peers_value'},
        batches = ['_batch_id', '_logs_batch_id', '_cdn_batch_id']
    )
}}
