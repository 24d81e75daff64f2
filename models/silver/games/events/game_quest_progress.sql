{#- One row per quest_progress event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('quest_progress', [
        {'name': 'quest_id', 'type': 'string', 'required_from': 1},
        {'name': 'state', 'type': 'string', 'required_from': 1,
         'values': ['accepted', 'progressed', 'completed', 'abandoned']},
        {'name': 'progress', 'type': 'number'},
    ])
}}
