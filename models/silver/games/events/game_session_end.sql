{#- One row per session_end event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('session_end', [
        {'name': 'length_s', 'type': 'number', 'required_from': 1},
        {'name': 'last_screen', 'type': 'string'},
        {'name': 'reason', 'type': 'string',
         'values': ['quit', 'background', 'timeout', 'crash']},
    ])
}}
