{#- One row per offer_result event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}
{{
    typed_game_events('offer_result', [
        {'name': 'offer_id', 'type': 'string', 'required_from': 1},
        {'name': 'result', 'type': 'string', 'required_from': 1,
         'values': ['clicked', 'dismissed', 'expired']},
        {'name': 'seconds_to_decide', 'type': 'number'},
    ])
}}
