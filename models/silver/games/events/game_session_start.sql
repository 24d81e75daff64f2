{#- One row per session_start event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('session_start', [
        {'name': 'session_num', 'type': 'integer', 'required_from': 1},
        {'name': 'is_first', 'type': 'boolean', 'required_from': 1},
    ])
}}
