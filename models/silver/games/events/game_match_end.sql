{#- One row per match_end event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('match_end', [
        {'name': 'match_id', 'type': 'string', 'required_from': 1},
        {'name': 'result', 'type': 'string', 'required_from': 1,
         'values': ['won', 'lost', 'drawn', 'left']},
        {'name': 'xp', 'type': 'integer'},
        {'name': 'duration_s', 'type': 'number'},
    ])
}}
