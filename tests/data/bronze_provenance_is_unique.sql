{#- Guards "nothing twice": no record stands twice in the bronze tables of its feed, whatever was
    delivered again or replayed. The key is each source's declared grain. -#}
with

records as (

    select
        feed,
        item as provenance
    from {{ source('bronze_loaders', 'ledger') }}
    where false
    {%- for feed in bronze_feeds() %}
    union all
    select
        '{{ feed.name }}' as feed,
        concat_ws(' ', {{ feed.key | join(', ') }}) as provenance
    from {{ feed.relation }}
    {%- endfor %}

),

bronze_provenance_is_unique as (

    select
        feed,
        provenance,
        count(*) as records
    from records
    group by feed, provenance
    having count(*) > 1

)

select * from bronze_provenance_is_unique
