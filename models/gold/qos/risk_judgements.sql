{#- One row per window of five minutes and rule: the cohorts whose risk breaks the rule, which are
    mostly none. Empty where no version of point_of_failure is in use. -#}
{{
    config(
        unique_key = ['window_start', 'rule'],
        prune_by = 'window_start',
        clustered_by = ['window_start']
    )
}}
{{
    judged_windows(
        'risk_judgements',
        domain = 'video',
        metrics = ['failure_risk'],
        windows = 'risk_windows',
        figures = 'risk_windows',
        references = {'peers': 'peers_value'},
        batches = ['_batch_id']
    )
}}
