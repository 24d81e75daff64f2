{#- One row per tutorial_step event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('tutorial_step', [
        {'name': 'step', 'type': 'integer', 'required_from': 1},
        {'name': 'status', 'type': 'string', 'required_from': 1,
         'values': ['started', 'completed', 'skipped']},
        {'name': 'elapsed_s', 'type': 'number'},
    ])
}}
